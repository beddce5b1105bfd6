'use strict';
// sofa-rpc-node's server speaking bolt on 127.0.0.1:PORT (0: a free one): demo.BoltService, as BoltProvider.java.
const net = require('net');
const { RpcServer } = require('sofa-rpc-node').server;
const logger = { info() {}, warn() {}, error() {}, debug() {} };
const java = ($class, $) => ({ $class, $ });
const wait = ms => new Promise(done => setTimeout(done, ms));

class Loopback extends RpcServer {
  _startServer(port) {
    const server = net.createServer(socket => this._handleSocket(socket));
    server.once('error', e => this.emit('error', e));
    return server.listen(port, '127.0.0.1', () => { this.publishPort = server.address().port; });
  }
}

// The same person with class names; whom it meets again is the same object.
function person(p, seen = new Map()) {
  if (!p || seen.has(p)) return p && seen.get(p);
  const copy = java('demo.Person', { ...p });
  seen.set(p, copy);
  copy.$.friend = person(p.friend, seen);
  copy.$.friends = p.friends && java('java.util.ArrayList', p.friends.map(one => person(one, seen)));
  return copy;
}

let told = 0;
// The cache goes by a class's name and number of fields: Java's and Node's requests differ in the fields' order,
// and a proxy sends both on one connection.
const server = new Loopback({ logger, port: Number(process.argv[2]), disableDecodeCache: true });
const service = tag => ({
  async hello(name) { return 'hello ' + name + tag; },
  async add(a, b) { return java('long', a + b); },
  async person(p) { p.age++; return person(p); },
  async fail(why) { throw new Error(why); },
  async crash(why) { throw new TypeError(why); },
  async slow(ms) { await wait(ms); return 'slept ' + ms; },
  async big(length) { return 'abcdefghijklmnopqrstuvwxyz'.repeat(length / 26 + 1).slice(0, length); },
  async bytes(data) { return data; },
  async nothing() {},
  async nul() { return null; },
  async tell() { told++; },
  async told() { return told; },
  async port() { return server.publishPort; },
});
server.addService({ interfaceName: 'demo.BoltService', version: '1.0' }, service(''));
server.addService({ interfaceName: 'demo.BoltService', version: '1.0', uniqueId: 'u1' }, service(' of u1'));
server.on('error', () => {}); // a service that is not there: the caller is told
server.start().then(() => console.log('READY ' + server.publishPort));
