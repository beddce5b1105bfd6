'use strict';
// sofa-rpc-node's client speaking Dubbo through dubbo-remoting: one line of JSON a case, as Consumer.java.
const { RpcClient } = require('sofa-rpc-node').client;
const protocol = require('dubbo-remoting');
const logger = { info() {}, warn() {}, error() {}, debug() {} };
const [port, ...wanted] = process.argv.slice(2);
const java = (type, value) => ({ $class: type, $: value });

async function run(name, body) {
  if (wanted.length && !wanted.includes(name)) return;
  try {
    console.log(JSON.stringify({ case: name, value: await body() }));
  } catch (e) {
    // What Java threw is an object of its class's fields.
    const raised = e instanceof Error ? `${e.name}: ${e.message}` : `detailMessage: ${e.detailMessage}`;
    console.log(JSON.stringify({ case: name, raised }));
  }
}

(async () => {
  const client = new RpcClient({ logger, protocol });
  const consumer = (interfaceName, responseTimeout) => client.createConsumer({
    interfaceName, version: '0.0.0', group: '', serverHost: `127.0.0.1:${port}`, responseTimeout,
  });
  const echo = consumer('demo.Echo', 5000);
  await echo.ready();
  await run('hello', () => echo.invoke('hello', [java('java.lang.String', 'Z\u00fcrich \ud83d\ude80')]));
  await run('add', () => echo.invoke('add', [java('int', 2), java('int', 40)]));
  await run('fail', () => echo.invoke('fail', [java('java.lang.String', 'not today')]));
  await run('proxytimeout', () => echo.invoke('slow', [java('int', 2500)]));
  await run('noservice', async () => {
    const missing = consumer('demo.Missing', 3000);
    await missing.ready();
    return missing.invoke('hello', [java('java.lang.String', 'x')]);
  });
  await run('many', async () => {
    const all = Array.from({ length: 300 }, (_, i) => echo.invoke('hello', [java('java.lang.String', 'n' + i)]));
    const answers = await Promise.all(all);
    return answers.filter((answer, i) => answer === 'hello n' + i).length;
  });
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
