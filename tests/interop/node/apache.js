'use strict';
// apache-dubbo-js' direct client: one line of JSON a case, as Consumer.java.
const { DirectlyDubbo, java } = require('apache-dubbo-js');
const [port, ...wanted] = process.argv.slice(2);
const dubbo = DirectlyDubbo.from({ dubboAddress: `127.0.0.1:${port}`, dubboVersion: '2.0.2', dubboInvokeTimeout: 5 });
const proxy = dubboInterface => dubbo.proxyService({
  dubboInterface,
  version: '0.0.0',
  methods: {
    hello(name) { return [java.String(name)]; },
    add(a, b) { return [java.int(a), java.int(b)]; },
    slow(ms) { return [java.int(ms)]; },
  },
});

async function run(name, body) {
  if (wanted.length && !wanted.includes(name)) return;
  const { res, err } = await body();
  console.log(JSON.stringify(err ? { case: name, raised: `${err.name}: ${err.message}` } : { case: name, value: res }));
}

(async () => {
  const echo = proxy('demo.Echo');
  await run('hello', () => echo.hello('Z\u00fcrich \ud83d\ude80'));
  await run('add', () => echo.add(2, 40));
  await run('proxytimeout', () => echo.slow(2500));
  await run('noservice', () => proxy('demo.Missing').hello('x'));
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
