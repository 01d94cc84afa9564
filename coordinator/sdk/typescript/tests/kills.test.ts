// 32 calls at once, in any order, while the process of the handlers is killed: everything is done once, or not at all.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Operation } from "../src/barrier/index.js";
import { KINDS, open, start } from "./support/databases.js";
import type { Database, Opened } from "./support/databases.js";
import { Running, until } from "./support/processes.js";

const PROGRAM = fileURLToPath(new URL("support/ledger-service.mjs", import.meta.url));
const AT_ONCE = 32;
const MAX_TRIES = 300;

interface Answered {
  operation: Operation;
  status: number;
  text: string;
}

describe.each(KINDS)("over %s", (kind) => {
  let database: Database;
  let opened: Opened;
  let service: Running;
  let url = "";
  /** All statuses that were ever answered. */
  const statuses = new Set<number>();

  const startService = async (framework: string) => {
    service = new Running(process.execPath, [PROGRAM, kind, String(database.port), framework]);
    await until(
      "the service listens",
      () => /^\d+\n/.test(service.log) || !service.isRunning,
      20_000,
      () => service.log,
    );
    if (!service.isRunning) throw new Error(service.log);
    url = `http://127.0.0.1:${service.log.trim()}/ledger`;
  };

  beforeAll(async () => {
    database = await start(kind);
    opened = open(kind, database.port);
    await opened.barrier.createTable();
    await opened.sql(undefined, "CREATE TABLE ledger (effect varchar(64), operation varchar(20))");
  });
  afterAll(async () => {
    await service?.end();
    await opened?.end();
    await database?.end();
  });

  /** Calls until it is answered for good, as a participant does. */
  async function call(effect: string, operation: Operation): Promise<Answered> {
    const headers = {
      "undoubt-effect": effect,
      "undoubt-operation": operation,
      "idempotency-key": `${effect}/${operation}`,
      "content-type": "application/json",
    };
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      try {
        const answer = await fetch(url, { method: "POST", headers, body: '{"a":1}' });
        const text = await answer.text();
        statuses.add(answer.status);
        if (answer.status < 500 && answer.status !== 425) return { operation, status: answer.status, text };
      } catch {
        // It was killed. Perhaps it did it.
      }
      await sleep(50 + Math.random() * 100);
    }
    throw new Error(`${operation} of ${effect} was never answered`);
  }

  /** Makes all of these calls at once, and kills the service in the middle. */
  async function storm(effect: string, operations: Operation[], framework: string): Promise<Answered[]> {
    const calls = operations.map((operation) => call(effect, operation));
    await sleep(10 + Math.random() * 60);
    await service.end();
    await startService(framework);
    return Promise.all(calls);
  }

  async function noted(effect: string): Promise<Record<string, number>> {
    const rows = await opened.sql(
      undefined,
      "SELECT operation, COUNT(*) AS count FROM ledger WHERE effect = ? GROUP BY operation",
      [effect],
    );
    return Object.fromEntries(rows.map(({ operation, count }) => [String(operation), Number(count)]));
  }

  const shuffled = (operations: Operation[]) =>
    operations
      .map((operation) => ({ operation, at: Math.random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ operation }) => operation);
  const many = (operation: Operation, count = AT_ONCE) => Array.from({ length: count }, () => operation);

  it.each(["Express", "Fastify"])("with handlers in %s", async (framework) => {
    await startService(framework);

    // Each operation, 32 times at once. Of a second framework one is enough: the rest is the same code.
    const before = {
      action: [],
      completion: ["action"],
      compensation: ["action"],
      try: [],
      confirm: ["try"],
      cancel: ["try"],
    } as const;
    const all = Object.entries(before) as [Operation, readonly Operation[]][];
    for (const [operation, earlier] of framework === "Express" ? all : all.slice(0, 1)) {
      const effect = `${framework} ${operation}`;
      for (const one of earlier) await call(effect, one);
      const answers = await storm(effect, many(operation), framework);
      expect(new Set(answers.map(({ status }) => status)), operation).toEqual(new Set([200]));
      expect(new Set(answers.map(({ text }) => text)).size, operation).toBe(1);
      expect(await noted(effect), operation).toEqual(
        Object.fromEntries([...earlier, operation].map((one) => [one, 1])),
      );
    }

    // An action and its compensation, in any order: nothing is left, or nothing was there.
    for (let round = 0; round < (framework === "Express" ? 4 : 1); round++) {
      const effect = `${framework} turned back ${round}`;
      const answers = await storm(
        effect,
        shuffled([...many("action", AT_ONCE / 2), ...many("compensation", AT_ONCE / 2)]),
        framework,
      );
      const { action = 0, compensation = 0 } = await noted(effect);
      expect([0, 1]).toContain(action);
      expect(compensation, effect).toBe(action);
      for (const { operation, status } of answers)
        expect(status, operation).toBe(operation === "action" && action === 0 ? 409 : 200);
    }

    await service.end();
    expect([...statuses].filter((status) => ![200, 409, 425].includes(status))).toEqual([]);
  });

  it("was not brought to a deadlock by that", async () => {
    const [row] =
      kind === "PostgreSQL"
        ? await opened.sql(undefined, "SELECT deadlocks AS count FROM pg_stat_database WHERE datname = 'postgres'")
        : await opened.sql(
            undefined,
            "SELECT VARIABLE_VALUE AS count FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_DEADLOCKS'",
          );
    expect(Number(row?.count)).toBe(0);
  });
});
