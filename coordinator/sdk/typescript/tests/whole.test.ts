// Sagas as code over a service with a barrier, through a real coordinator, while the coordinator and the service are killed.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Client, newId, post } from "../src/index.js";
import { KINDS, open, start } from "./support/databases.js";
import type { Database, Opened } from "./support/databases.js";
import { Running, freePort } from "./support/processes.js";
import { Serve } from "./support/undoubt.js";

const PROGRAM = fileURLToPath(new URL("support/ledger-service.mjs", import.meta.url));
const SAGAS = 24;

let databases: Database[] = [];
let opened: Opened[] = [];
let services: Running[] = [];
let ports: number[] = [];
let serve: Serve;

const startService = (number: number) => {
  const [kind, port] = [KINDS[number]!, databases[number]!.port];
  return new Running(process.execPath, [PROGRAM, kind, String(port), "Express", String(ports[number])]);
};

beforeAll(async () => {
  databases = await Promise.all(KINDS.map(start));
  opened = databases.map(({ kind, port }) => open(kind, port));
  for (const { barrier, sql } of opened) {
    await barrier.createTable();
    await sql(undefined, "CREATE TABLE ledger (effect varchar(200), operation varchar(20))");
  }
  ports = [await freePort(), await freePort()];
  services = KINDS.map((_, number) => startService(number));
  serve = await Serve.start(ports.map((port) => `http://127.0.0.1:${port}`));
});
afterAll(async () => {
  await serve?.end();
  for (const one of [...services, ...opened, ...databases]) await one.end();
});

it("each saga is whole or undone at every database, whatever is killed", async () => {
  const client = new Client(serve.url, { timeout: "50s" });
  const ledger = (number: number) => post(`http://127.0.0.1:${ports[number]}/ledger`, {});
  const run = async (id: string, fails: boolean): Promise<string> => {
    const block = client.saga(id, async (saga) => {
      for (const number of [0, 1]) {
        const step = { at: "http", do: ledger(number), undo: ledger(number), complete: ledger(number) };
        await saga.run(`step-${number}`, { ...step, attempts: 20, first_pause: "100ms", max_pause: "1s" });
      }
      if (fails) throw new Error("changed my mind");
    });
    return block.then(
      () => "committed",
      (error: Error) => (error.message === "changed my mind" ? "aborted" : `${error}`),
    );
  };

  const ids = Array.from({ length: SAGAS }, () => newId());
  const running = ids.map((id, number) => sleep(number * 60).then(() => run(id, number % 3 === 0)));
  for (const number of [0, 1]) {
    await sleep(300);
    await services[number]!.end();
    services[number] = startService(number);
    await sleep(300);
    await serve.restart();
  }
  const ends = await Promise.all(running);
  expect(ends).toEqual(ids.map((_, number) => (number % 3 === 0 ? "aborted" : "committed")));

  for (const { sql } of opened) {
    const rows = await sql(undefined, "SELECT effect, operation FROM ledger");
    for (const [number, id] of ids.entries()) {
      const done = rows.filter(({ effect }) => String(effect).includes(`/${id}/`)).map(({ operation }) => operation);
      expect(done.sort(), id).toEqual(["action", number % 3 === 0 ? "compensation" : "completion"]);
    }
  }
});
