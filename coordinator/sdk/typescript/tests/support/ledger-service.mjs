// A service that a test kills: node ledger-service.mjs KIND DATABASE-PORT FRAMEWORK [PORT]. It tells its port on standard
// output. Each call notes its effect and its operation in a table without a key, takes its time, and is answered with what
// it was. The program loads no more than it needs, since it is started anew after each kill.
import { setTimeout as sleep } from "node:timers/promises";

const [kind, port, framework, listen = 0] = process.argv.slice(2);
const where = { host: "127.0.0.1", port: Number(port) };
const isPostgres = kind === "PostgreSQL";

async function postgres() {
  const [{ pgBarrier }, { default: pg }] = await Promise.all([import("undoubt/pg"), import("pg")]);
  return pgBarrier(new pg.Pool({ ...where, user: "postgres", database: "postgres", max: 12 }));
}

async function mariadb() {
  const [{ mysqlBarrier }, { createPool }] = await Promise.all([import("undoubt/mysql2"), import("mysql2/promise")]);
  return mysqlBarrier(createPool({ ...where, user: "root", database: "test", connectionLimit: 12 }));
}

async function note(db, request, { effect, operation }) {
  await db.query(isPostgres ? "INSERT INTO ledger VALUES ($1, $2)" : "INSERT INTO ledger VALUES (?, ?)", [
    effect,
    operation,
  ]);
  await sleep(30);
  return { operation, body: request.body };
}

const handlers = { action: note, compensation: note, completion: note, try: note, confirm: note, cancel: note };
const barrier = await (isPostgres ? postgres() : mariadb());

if (framework === "Express") {
  const [{ default: express }, { effect }] = await Promise.all([import("express"), import("undoubt/express")]);
  const app = express();
  app.post("/ledger", express.json(), effect(barrier, handlers));
  const server = app.listen(Number(listen), "127.0.0.1", () => console.log(server.address().port));
} else {
  const [{ default: fastify }, { effect }] = await Promise.all([import("fastify"), import("undoubt/fastify")]);
  const app = fastify();
  app.post("/ledger", effect(barrier, handlers));
  await app.listen({ host: "127.0.0.1", port: Number(listen) });
  console.log(app.server.address().port);
}
