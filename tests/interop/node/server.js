'use strict';
// sofa-rpc-node speaking Dubbo through dubbo-remoting, on 127.0.0.1:PORT. Answers are truthy: that
// library writes null, 0 and '' without the code that says what they are.
const { RpcServer } = require('sofa-rpc-node').server;
const protocol = require('dubbo-remoting');
const logger = { info() {}, warn() {}, error: console.error, debug() {} };
const port = Number(process.argv[2]);
const server = new RpcServer({ logger, port, protocol, group: '', version: '0.0.0' });
const wait = ms => new Promise(done => setTimeout(done, ms));
server.addService({ interfaceName: 'demo.Echo', version: '0.0.0', group: '' }, {
  async hello(name) { return 'hello ' + name; },
  async add(a, b) { return a + b; },
  async slow(ms) { await wait(ms); return 'slept ' + ms; },
  async fail(why) { throw new Error(why); },
  async port() { return port; },
});
server.start().then(() => console.log('READY ' + port));
