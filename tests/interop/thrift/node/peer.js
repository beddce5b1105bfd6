// A Thrift server, or a client of one: server WIRE PORT, client WIRE PORT CASE... WIRE: framed binary, compact or multi
// (binary, multiplexed names).
"use strict";
const path = require("path");
const thrift = require("thrift");
const generated = path.join(__dirname, "gen-nodejs");
const Echo = require(path.join(generated, "Echo.js"));
const Missing = require(path.join(generated, "Missing.js"));
const { Declared } = require(path.join(generated, "demo_types.js"));

const [role, wire, port, ...cases] = process.argv.slice(2);
const protocol = wire === "compact" ? thrift.TCompactProtocol : thrift.TBinaryProtocol;
const transport = thrift.TFramedTransport;
let notes = 0;

const service = {
  echo: (text, done) => done(null, text),
  add: (a, b, done) => done(null, a + Number(b)),
  nothing: (done) => done(null),
  fails: (why, done) => done(new Declared({ code: 17, why })),
  breaks: (done) => done(new Error("broken inside")),
  slow: (ms, done) => setTimeout(() => done(null, "slept"), ms),
  big: (size, done) => done(null, "v".repeat(size)),
  note: () => { notes += 1; },
  noted: (done) => done(null, notes),
};

function serve() {
  const options = { protocol, transport };
  const server =
    wire === "multi"
      ? (() => {
          const processor = new thrift.MultiplexedProcessor();
          processor.registerProcessor("Echo", new Echo.Processor(service));
          return thrift.createMultiplexServer(processor, options);
        })()
      : thrift.createServer(Echo, service, options);
  server.on("error", () => {}); // else a connection that is reset ends the process
  server.listen(Number(port), "127.0.0.1", () => console.log(`READY ${port}`));
}

const opened = [];
function connect(of = Echo, name = "Echo") {
  const connection = thrift.createConnection("127.0.0.1", Number(port), { protocol, transport });
  connection.on("error", () => {});
  opened.push(connection);
  return wire === "multi" ? new thrift.Multiplexer().createClient(name, of, connection) : thrift.createClient(of, connection);
}

async function noted() {
  const client = connect();
  const before = await client.noted();
  client.note("seen");
  for (let i = 0; i < 100; i++) {
    const now = await client.noted();
    if (now > before) return now - before;
    await new Promise((done) => setTimeout(done, 20));
  }
  return 0;
}

async function many() {
  let right = 0;
  const one = async (who) => {
    const client = connect();
    for (let n = 0; n < 125; n++) if ((await client.echo(`${who}-${n}`)) === `${who}-${n}`) right += 1;
  };
  await Promise.all([...Array(8).keys()].map(one));
  return right;
}

async function after(call) {
  const client = connect();
  try {
    await call(client);
  } catch (error) {
    return `${error.name}, then ${await client.echo("still here")}`;
  }
  return "no error";
}

const CASES = {
  hello: () => connect().echo("Zürich 🚀"),
  add: async () => Number(await connect().add(2, 1099511627776)),
  nothing: async () => (await connect().nothing()) ?? null,
  declared: () => connect().fails("not today"),
  undeclared: () => connect().breaks(),
  missing: () => connect(Missing, "Missing").gone(),
  slow: () => connect().slow(2000),
  big: async () => (await connect().big(1 << 20)).length,
  oneway: noted,
  many,
  "after-declared": () => after((client) => client.fails("not today")),
  "after-undeclared": () => after((client) => client.breaks()),
  "after-nothing": () => after((client) => client.nothing()),
  "after-slow": () => after((client) => client.slow(2000)),
};

async function consume() {
  for (const name of cases) {
    let line;
    const late = new Promise((_, fail) => setTimeout(() => fail(new Error("nobody called back")), 10000).unref());
    try {
      line = { value: await Promise.race([CASES[name](), late]) };
    } catch (error) {
      line = error instanceof Declared
        ? { raised: ["Declared", error.code, error.why] }
        : { raised: [error.name, error.type ?? 0, error.message] };
    }
    console.log(JSON.stringify({ case: name, ...line }));
  }
  for (const connection of opened) connection.end();
  process.exit(0);
}

if (role === "server") serve();
else consume();
