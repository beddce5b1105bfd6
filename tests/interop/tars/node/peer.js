// A TARS server, or a client of one: server PORT, client PORT CASE...
"use strict";
const { Communicator, server, error } = require("@tars/rpc");
const stream = require("@tars/stream");

const SERVANT = "Demo.Echo.EchoObj";
const PROBE = "tars_ping";
const NOTHING = () => new stream.TarsOutputStream().getBinBuffer();
console.info = console.warn = () => {};

class Echo {
  initialize() {
    this.notes = 0;
  }

  onDispatch(current, name, buffer) {
    if (typeof this[`on_${name}`] !== "function") return error.SERVER.FUNC_NOT_FOUND;
    const text = name === PROBE ? "" : new stream.TarsInputStream(buffer).readString(1, false, "");
    const answer = (value) => {
      const out = new stream.TarsOutputStream();
      out.writeString(0, value);
      current.doResponse(out.getBinBuffer());
    };
    this[`on_${name}`](answer, text, current);
    return error.SUCCESS;
  }

  on_tars_ping(answer) {
    answer("pong");
  }

  on_echo(answer, text) {
    answer(text);
  }

  on_fails(answer, why, current) {
    current.sendErrorResponse(17, why);
  }

  on_breaks() {
    throw new Error("broken inside");
  }

  on_slow(answer, ms) {
    setTimeout(() => answer("slept"), Number(ms));
  }

  on_big(answer, size) {
    answer("v".repeat(Number(size)));
  }

  on_note() {
    this.notes++;
  }

  on_noted(answer) {
    answer(String(this.notes));
  }

  on_headers(answer, text, current) {
    current.setResponseContext({ answered: "yes" });
    answer(listed(current.getContext()));
  }

  on_status(answer, text, current) {
    answer(listed(current.getRequestStatus()));
  }
}

function listed(map) {
  const found = [];
  map.forEach((key, value) => {
    found.push(`${key}=${value}`);
  });
  return found.sort().join(",");
}

async function ask(from, name, text, options) {
  const out = new stream.TarsOutputStream();
  if (text !== undefined) out.writeString(1, text);
  const found = await from.rpc.ask(name, out.getBinBuffer(), options);
  const value = new stream.TarsInputStream(found.response.sBuffer).readString(0, true, "");
  return options?.answer ? `${value}; ${listed(found.response.context)}` : value;
}

// What a generated proxy does.
function connect(port) {
  class Proxy {}
  Proxy.prototype.setTimeout = function (ms) {
    this._worker.timeout = ms;
  };
  Proxy.prototype.ask = function (name, buffer, options) {
    return this._worker.tars_invoke(name, buffer, options);
  };
  const rpc = Communicator.New().stringToProxy(
    Proxy,
    `${SERVANT}@tcp -h 127.0.0.1 -p ${port} -t 60000`,
  );
  rpc.setTimeout(20000);
  return { rpc, port };
}

async function many(port) {
  let right = 0;
  await Promise.all(
    Array.from({ length: 8 }, async (_, who) => {
      const from = connect(port);
      for (let n = 0; n < 125; n++) if ((await ask(from, "echo", `${who}-${n}`)) === `${who}-${n}`) right++;
    }),
  );
  return right;
}

async function noted(from) {
  const before = Number(await ask(from, "noted"));
  const sent = from.rpc.ask("note", NOTHING(), { packetType: 1 });
  await sent.then(undefined, () => {}); // it says so that nothing comes back
  for (let i = 0; i < 100; i++) {
    const now = Number(await ask(from, "noted"));
    if (now > before) return now - before;
    await new Promise((done) => setTimeout(done, 20));
  }
  return 0;
}

async function after(from, name, text) {
  try {
    await ask(from, name, text);
  } catch {
    return `an error, then ${await ask(from, "echo", "still here")}`;
  }
  return "no error";
}

const CASES = {
  hello: (from) => ask(from, "echo", "Zürich 🚀"),
  declared: (from) => ask(from, "fails", "not today"),
  undeclared: (from) => ask(from, "breaks"),
  missing: (from) => ask(from, "gone"),
  slow: (from) => ask(from, "slow", "2000"),
  big: async (from) => (await ask(from, "big", String(1 << 20))).length,
  sent: async (from) => (await ask(from, "echo", "v".repeat(1 << 20))).length,
  oneway: noted,
  ping: (from) => from.rpc.ask(PROBE, NOTHING()).then((found) => found.response.iRet),
  headers: (from) => ask(from, "headers", "", { context: { mine: "1" }, answer: true }),
  status: (from) => ask(from, "status", "", { dyeing: { dyeing: true, key: "red" } }),
  many: (from) => many(from.port),
  "after-declared": (from) => after(from, "fails", "not today"),
  "after-undeclared": (from) => after(from, "breaks"),
  "after-missing": (from) => after(from, "gone"),
  "after-slow": (from) => after(from, "slow", "2000"),
  // An id is as wide as its value.
  ids: async (from) => {
    for (const id of [126, 254, 32766, 65534, 0x00fffffe, 0x01fffffe, 0x7ffffffd]) {
      from.rpc._worker._requestId = id;
      for (let n = 0; n < 2; n++) if ((await ask(from, "echo", String(id))) !== String(id)) return id;
    }
    from.rpc._worker._requestId = 1000;
    return "all right";
  },
};

async function main([role, port, ...cases]) {
  if (role === "server") {
    server.createServer(Echo).start({
      endpoint: `tcp -h 127.0.0.1 -p ${port} -t 60000`,
      servant: SERVANT,
      maxconns: 1000,
      protocol: "tars",
    });
    console.log(`READY ${port}`);
    return;
  }
  const from = connect(port);
  for (const name of cases) {
    try {
      console.log(JSON.stringify({ case: name, value: await CASES[name](from) }));
    } catch (why) {
      const said = why.error ?? why.response?.error ?? why;
      console.log(JSON.stringify({ case: name, raised: [said.code ?? 0, said.message] }));
    }
  }
  process.exit(0);
}

main(process.argv.slice(2));
