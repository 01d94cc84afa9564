// Measures what the package costs over the same calls by hand, in CPU time of the process that makes or hears them:
// node overhead.mjs PostgreSQL|MariaDB PORT. `npm run overhead` starts the databases. The other side of each call is another process.
import { fork } from "node:child_process";
import { Agent, createServer, request as ask } from "node:http";
import { fileURLToPath } from "node:url";

const CALLS = 200;
const AT_ONCE = 8;
const ROUNDS = 25;
const STEP = {
  at: "http",
  do: [{ http: { method: "POST", url: "http://127.0.0.1:9001/things", json: { thing: "7A" } } }],
  undo: ["http post http://127.0.0.1:9001/things"],
};
const STANDING = JSON.stringify({
  tx: "a",
  step: "seat",
  state: "done",
  results: { http: { status: 200, json: { thing: "7A", price: 30 } } },
});

/** Does `CALLS` calls, some at once. */
async function load(call) {
  let next = 0;
  const one = async () => {
    while (next++ < CALLS) await call(next);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

/** Returns the CPU time that work takes this process, in microseconds for each call. */
async function cpu(work) {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CALLS;
}

const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];

/**
 * Measures both, again and again in turn, and prints medians: of two that ran one after the other, whatever else the machine did then, one is
 * compared with the other. The first round of each warms up.
 */
async function compare(what, byHand, byPackage) {
  const [hand, own] = [[], []];
  for (let round = 0; round <= ROUNDS; round++) {
    const order =
      round % 2 === 0
        ? [
            [byHand, hand],
            [byPackage, own],
          ]
        : [
            [byPackage, own],
            [byHand, hand],
          ];
    for (const [work, all] of order) {
      const taken = await cpu(work);
      if (round > 0) all.push(taken);
    }
  }
  const overhead = (median(own.map((taken, round) => taken / hand[round])) - 1) * 100;
  console.log(
    JSON.stringify({
      what,
      by_hand_us: Math.round(median(hand)),
      by_package_us: Math.round(median(own)),
      overhead_percent: Math.round(overhead * 10) / 10,
    }),
  );
}

/** Starts this program in another role, and returns it with the port that it tells. */
async function start(...role) {
  const child = fork(fileURLToPath(import.meta.url), role);
  const port = await new Promise((resolve) => child.once("message", resolve));
  return { child, port };
}

/** The role of a gateway that answers each step at once. */
function gateway() {
  const server = createServer((request, response) => {
    request.resume().once("end", () => response.writeHead(200, { "content-type": "application/json" }).end(STANDING));
  });
  server.listen(0, "127.0.0.1", () => process.send(server.address().port));
}

/** The role of a participant that makes `CALLS` calls of a path whenever it is told one. */
function participant() {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  let calls = 0;
  const call = (port, path) =>
    new Promise((resolve, reject) => {
      const effect = `${process.pid}/${path}/${calls++}`;
      const headers = {
        "content-type": "application/json",
        "undoubt-effect": effect,
        "undoubt-operation": "action",
        "undoubt-transaction": "a",
        "undoubt-step": "0",
        "idempotency-key": `${effect}/action`,
      };
      const asked = ask({ host: "127.0.0.1", port, path, method: "POST", agent, headers }, (answer) => {
        if (answer.statusCode !== 200) reject(new Error(`status ${answer.statusCode}`));
        answer.resume().once("end", resolve);
      });
      asked.once("error", reject).end('{"thing":"7A"}');
    });
  process.on("message", async ({ port, path }) => {
    await load(() => call(port, path));
    process.send("done");
  });
  process.send(0);
}

async function client() {
  const { Client } = await import("undoubt");
  const { child, port } = await start("gateway");
  const url = `http://127.0.0.1:${port}`;
  const saga = new Client(url, { token: "a-token" }).resume("a");
  const byHand = async () => {
    const headers = { accept: "application/json", "content-type": "application/json", authorization: "Bearer a-token" };
    // With a time limit, as any call needs one.
    const signal = AbortSignal.timeout(30_000);
    const answer = await fetch(`${url}/v1/transactions/a/steps/seat/run`, {
      method: "POST",
      headers,
      body: JSON.stringify(STEP),
      signal,
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return (await answer.json()).results.http.json;
  };
  await compare(
    "a step that is run, by the client",
    () => load(byHand),
    () => load(async () => (await saga.run("seat", STEP)).json()),
  );
  child.kill();
}

const WORK = {
  PostgreSQL: "INSERT INTO bought (effect, thing) VALUES ($1, $2)",
  MariaDB: "INSERT INTO bought (effect, thing) VALUES (?, ?)",
};

/** What one would write by hand on PostgreSQL: the same statements, and no more than they need. */
async function postgres(port) {
  const [{ default: pg }, { pgBarrier }] = await Promise.all([import("pg"), import("undoubt/pg")]);
  const pool = new pg.Pool({ host: "127.0.0.1", port, user: "postgres", database: "postgres", max: AT_ONCE });
  const byHand = async (request) => {
    const effect = request.headers["undoubt-effect"];
    const db = await pool.connect();
    try {
      await db.query("BEGIN");
      const { rows } = await db.query(
        "INSERT INTO undoubt_barrier (effect) VALUES ($1) ON CONFLICT (effect) DO UPDATE SET touched_at = now() RETURNING *",
        [effect],
      );
      if (rows[0].action_status !== null) throw new Error("twice");
      await db.query(WORK.PostgreSQL, [effect, request.body.thing]);
      const answer = JSON.stringify({ thing: request.body.thing, price: 30 });
      await db.query(
        "UPDATE undoubt_barrier SET action_status = 200, action_type = 'application/json', action_body = $2 WHERE effect = $1",
        [effect, Buffer.from(answer)],
      );
      await db.query("COMMIT");
      return answer;
    } finally {
      db.release();
    }
  };
  return { barrier: pgBarrier(pool), query: (text) => pool.query(text), byHand, end: () => pool.end() };
}

/** The same on MariaDB. */
async function mariadb(port) {
  const [{ createPool }, { mysqlBarrier }] = await Promise.all([import("mysql2/promise"), import("undoubt/mysql2")]);
  const pool = createPool({ host: "127.0.0.1", port, user: "root", database: "test", connectionLimit: AT_ONCE });
  const byHand = async (request) => {
    const effect = request.headers["undoubt-effect"];
    const db = await pool.getConnection();
    try {
      const [there] = await db.query("SELECT 1 FROM undoubt_barrier WHERE effect = ?", [effect]);
      if (there.length === 0) await db.query("INSERT IGNORE INTO undoubt_barrier (effect) VALUES (?)", [effect]);
      await db.query("BEGIN");
      const [rows] = await db.query("SELECT * FROM undoubt_barrier WHERE effect = ? FOR UPDATE", [effect]);
      if (rows[0].action_status !== null) throw new Error("twice");
      await db.query(WORK.MariaDB, [effect, request.body.thing]);
      const answer = JSON.stringify({ thing: request.body.thing, price: 30 });
      await db.query(
        "UPDATE undoubt_barrier SET action_status = 200, action_type = 'application/json', action_body = ? WHERE effect = ?",
        [Buffer.from(answer), effect],
      );
      await db.query("COMMIT");
      return answer;
    } finally {
      db.release();
    }
  };
  return { barrier: mysqlBarrier(pool), query: (text) => pool.query(text), byHand, end: () => pool.end() };
}

async function service(kind, databasePort) {
  const [{ default: express }, { effect }] = await Promise.all([import("express"), import("undoubt/express")]);
  const { barrier, query, byHand, end } = await (kind === "PostgreSQL" ? postgres : mariadb)(databasePort);
  await barrier.createTable();
  await query("CREATE TABLE bought (effect varchar(512), thing varchar(20))");
  const action = async (db, request, call) => {
    await db.query(WORK[kind], [call.effect, request.body.thing]);
    return { thing: request.body.thing, price: 30 };
  };
  const app = express();
  app.post("/hand", express.json(), async (request, response) => response.type("json").send(await byHand(request)));
  app.post("/package", express.json(), effect(barrier, { action }));
  const server = app.listen(0, "127.0.0.1");
  const { child } = await start("participant");
  const loaded = (path) => () =>
    new Promise((resolve) => child.once("message", resolve).send({ port: server.address().port, path }));
  await compare(`a call that is heard, over ${kind}`, loaded("/hand"), loaded("/package"));
  child.kill();
  server.close();
  server.closeAllConnections();
  await end();
}

const [role, port] = process.argv.slice(2);
// The other side of a call does not outlive the one that measures.
process.on("disconnect", () => process.exit());
if (role === "gateway") gateway();
else if (role === "participant") participant();
else if (role === "client") await client();
else await service(role, Number(port));
