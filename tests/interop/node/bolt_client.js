'use strict';
// sofa-rpc-node's client speaking bolt: one line of JSON a case, as BoltConsumer.java.
// Arguments: v1 (the library's own choice), v2 (ver1 = 1) or crc (ver1 = 2); PORT; the cases to run.
const { RpcClient } = require('sofa-rpc-node').client;
const RpcConnection = require('sofa-rpc-node/lib/client/connection/rpc');
const logger = { info() {}, warn() {}, error() {}, debug() {} };
const [wire, port, ...wanted] = process.argv.slice(2);
const java = ($class, $) => ({ $class, $ });
const text = value => java('java.lang.String', value);
const int = value => java('int', value);
const wait = ms => new Promise(done => setTimeout(done, ms));

class Connection extends RpcConnection {
  _connect() {
    super._connect();
    if (wire === 'v1') return;
    this._encoder.protocolType = 'bolt2';
    this._encoder.boltVersion = wire === 'crc' ? 2 : 1;
    this._encoder.crcEnable = wire === 'crc';
  }
}

async function run(name, body) {
  if (!wanted.includes(name)) return;
  const line = { case: name };
  try {
    line.value = String(await body());
  } catch (e) {
    line.raised = `${e.name}: ${e.message}`;
  }
  console.log(JSON.stringify(line));
}

function person() {
  const grace = java('demo.Person', { name: 'Grace', age: 0, born: null, friend: null, friends: null, extra: null });
  const list = java('java.util.ArrayList', [ 1, java('long', 2 ** 40), 3.5, 'x', null, true ]);
  const ada = java('demo.Person', {
    name: 'Ada \ud83d\ude80',
    age: 36,
    born: java('java.util.Date', new Date(1234567890123)),
    friend: grace,
    friends: java('java.util.ArrayList', [ grace ]),
    extra: java('java.util.HashMap', { list }),
  });
  ada.$.friends.$.push(ada);
  return ada;
}

(async () => {
  const client = new RpcClient({ logger, connectionClass: Connection });
  const consumer = (interfaceName, version = '1.0') => client.createConsumer({
    interfaceName, version, serverHost: `127.0.0.1:${port}`, responseTimeout: 20000,
  });
  const service = consumer('demo.BoltService');
  await service.ready();
  const call = (method, ...args) => service.invoke(method, args);
  const hello = async (...which) => {
    const other = consumer(...which);
    await other.ready();
    return other.invoke('hello', [ text('x') ]);
  };
  await run('hello', () => call('hello', text('Z\u00fcrich \ud83d\ude80')));
  await run('add', () => call('add', int(2), java('long', 2 ** 40)));
  await run('person', async () => {
    const p = await call('person', person());
    const whole = p.friends[1] === p && p.friends[0] === p.friend;
    return `${p.name} ${p.age} ${p.born.getTime()} ${p.friend.name} ${whole} ${JSON.stringify(p.extra)}`;
  });
  await run('fail', () => call('fail', text('not today')));
  await run('crash', () => call('crash', text('not today')));
  await run('nothing', () => call('nothing'));
  await run('nul', () => call('nul'));
  await run('big', async () => {
    const big = await call('big', int(1 << 20));
    return `${big.length} ${big[0]}${big[27]}${big[big.length - 1]}`;
  });
  await run('bytes', async () => {
    const data = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => i & 255));
    return data.equals(await call('bytes', data));
  });
  await run('uniqueid', () => hello('demo.BoltService', '1.0:u1'));
  await run('missing', () => hello('demo.Missing'));
  await run('nouniqueid', () => hello('demo.BoltService', '1.0:u2'));
  await run('timeout', () => service.invoke('slow', [ int(1000) ], { responseTimeout: 300 }));
  await run('slow', () => call('slow', int(1500)));
  await run('proxytimeout', () => call('slow', int(2500)));
  await run('idle', async () => {
    const connection = await service.getConnection({ meta: {} });
    connection.options.maxIdleTime = 0;
    await wait(50);
    connection.heartbeat();
    await wait(50);
    return call('hello', text('again'));
  });
  await run('again', async () => {
    let gone = false;
    for (let i = 0; i < 600; i++) {
      try {
        const answer = await call('hello', text('again'));
        if (gone) return answer;
      } catch (e) {
        gone = true;
      }
      await wait(50);
    }
    return gone ? 'gone for good' : 'never gone';
  });
  await run('port', () => call('port'));
  await run('many', async () => {
    const all = Array.from({ length: 1000 }, (_, i) => call('hello', text('n' + i)));
    const answers = await Promise.all(all);
    return answers.filter((answer, i) => answer === 'hello n' + i).length;
  });
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
