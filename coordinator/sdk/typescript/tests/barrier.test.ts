import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { InProgress, NotRecorded, Refusal, Reply } from "../src/barrier/index.js";
import type { Answer } from "../src/barrier/index.js";
import { readCall } from "../src/barrier/call.js";
import { KINDS, open, start } from "./support/databases.js";
import type { Database, Opened } from "./support/databases.js";
import { onlyKnown, vectors } from "./support/vectors.js";

interface Doing {
  result?: unknown;
  answer?: { status: number; text: string };
  refuse?: string;
  in_progress?: string;
  fail?: string;
}
interface CallVector {
  operation: string;
  effect?: string;
  transaction?: string;
  always?: boolean;
  handler?: Doing;
  expect: {
    status?: number;
    ran?: boolean;
    json?: unknown;
    text?: string;
    code?: string;
    retry_after?: string;
    recorded?: boolean;
  };
}
interface Sequence {
  name: string;
  why: string;
  calls: CallVector[];
  left: string[];
}
interface HeadersVector {
  why: string;
  given: Record<string, string>;
  expect: { status: number; code: string; names: string };
}

const file = vectors<{ sequences: Sequence[]; headers: HeadersVector[] }>("barrier.json");
const text = ({ body }: Answer) => new TextDecoder().decode(body ?? new Uint8Array());
const encoded = (id: string) => encodeURIComponent(id);

/** Does what a vector's handler does. */
function act(handler: Doing): unknown {
  onlyKnown("handler", handler, ["result", "answer", "refuse", "in_progress", "fail"]);
  if (handler.answer !== undefined) return new Reply(handler.answer.status, handler.answer.text);
  if (handler.refuse !== undefined) throw new Refusal(handler.refuse);
  if (handler.in_progress !== undefined) throw new InProgress(handler.in_progress);
  if (handler.fail !== undefined) throw new Error(handler.fail);
  return handler.result;
}

describe("barrier.json", () => {
  it("has nothing that this SDK does not know", () => onlyKnown("barrier.json", file, ["sequences", "headers"]));

  it.each(file.headers)("headers: $why", ({ given, expect: expected }) => {
    const headers = Object.entries(given).map(([name, value]): [string, string] => [
      name.toLowerCase(),
      value === "<513 x e>" ? "e".repeat(513) : value,
    ]);
    const answer = readCall(Object.fromEntries(headers));
    expect(readCall(new Headers(headers))).toEqual(answer);
    if (!("status" in answer)) throw new Error("it was read");
    expect(answer.status).toBe(expected.status);
    expect(JSON.parse(text(answer))).toMatchObject({
      code: expected.code,
      detail: expect.stringContaining(expected.names) as string,
    });
  });
});

describe.each(KINDS)("over %s", (kind) => {
  let database: Database;
  let opened: Opened;

  beforeAll(async () => {
    database = await start(kind);
    opened = open(kind, database.port);
    await opened.barrier.createTable();
    await opened.barrier.createTable();
    await opened.sql(undefined, "CREATE TABLE notes (number bigint PRIMARY KEY, note varchar(600) NOT NULL)");
    await opened.sql(undefined, "CREATE TABLE things (thing varchar(20) PRIMARY KEY)");
  });
  afterAll(async () => {
    await opened?.end();
    await database?.end();
  });
  beforeEach(async () => {
    for (const table of ["undoubt_barrier", "notes", "things"]) await opened.sql(undefined, `DELETE FROM ${table}`);
  });

  const action = (effect: string) => ({ "undoubt-effect": effect, "undoubt-operation": "action" });

  it.each(file.sequences)("$name: $why", async ({ calls, left }) => {
    let number = 0;
    for (const call of calls) {
      onlyKnown("call", call, ["operation", "effect", "transaction", "always", "handler", "expect"]);
      const { operation, effect = "E", transaction = "", always = false, handler = {}, expect: expected } = call;
      onlyKnown("expect", expected, ["status", "ran", "json", "text", "code", "retry_after", "recorded"]);
      if (operation === "own") {
        const db = await opened.take();
        await opened.sql(db, "BEGIN");
        const recorded = await opened.barrier.own(db, transaction).then(
          () => true,
          (error: unknown) => (expect(error).toBeInstanceOf(NotRecorded), false),
        );
        await opened.sql(db, "COMMIT");
        opened.giveBack(db);
        expect(recorded).toBe(expected.recorded);
        continue;
      }
      let ran = false;
      const headers = {
        "undoubt-effect": effect,
        "undoubt-operation": operation,
        "undoubt-transaction": encoded(transaction),
      };
      const work = async (db: unknown) => {
        ran = true;
        await opened.sql(db, "INSERT INTO notes VALUES (?, ?)", [++number, `${effect} ${operation}`]);
        return act(handler);
      };
      const failed: Answer = { status: 500, type: null, body: null };
      const answer = await opened.barrier
        .once(headers, work, { always })
        .catch((error: unknown) => (expect(error).toMatchObject({ message: handler.fail }), failed));
      expect(answer.status).toBe(expected.status);
      if (expected.ran !== undefined) expect(ran).toBe(expected.ran);
      if ("json" in expected) expect(JSON.parse(text(answer))).toEqual(expected.json);
      if ("text" in expected) expect(text(answer)).toBe(expected.text);
      if ("code" in expected)
        expect(JSON.parse(text(answer))).toMatchObject({ code: expected.code, status: expected.status });
      if ("retry_after" in expected) expect(String(answer.retryAfter)).toBe(expected.retry_after);
    }
    const notes = await opened.sql(undefined, "SELECT note FROM notes ORDER BY number");
    expect(notes.map(({ note }) => note)).toEqual(left);
  });

  it("lets an action that is at work and its compensation wait for each other", async () => {
    let go = () => {};
    const gone = new Promise<void>((resolve) => (go = resolve));
    let isAtWork = () => {};
    const atWork = new Promise<void>((resolve) => (isAtWork = resolve));
    const acting = opened.barrier.once(action("E"), async (db) => {
      isAtWork();
      await gone;
      await opened.sql(db, "INSERT INTO things VALUES ('7A')");
    });
    await atWork;
    const undoing = opened.barrier.once({ ...action("E"), "undoubt-operation": "compensation" }, (db) =>
      opened.sql(db, "DELETE FROM things"),
    );
    setTimeout(go, 300);
    expect((await acting).status).toBe(200);
    expect((await undoing).status).toBe(200);
    expect(await opened.sql(undefined, "SELECT * FROM things")).toEqual([]);
  });

  it("answers 425 where a row cannot be locked in time, and where the handler's own locks cannot", async () => {
    const one = await opened.take();
    await opened.sql(undefined, "INSERT INTO undoubt_barrier (effect) VALUES ('E')");
    await opened.sql(one, "BEGIN");
    await opened.sql(one, "SELECT * FROM undoubt_barrier WHERE effect = 'E' FOR UPDATE");
    // As an SDK does that makes rows in the transaction of the handler.
    await opened.sql(one, "INSERT INTO undoubt_barrier (effect) VALUES ('D')");
    const begun = Date.now();
    const answers = await Promise.all(["D", "E"].map((effect) => opened.barrier.once(action(effect), () => "done")));
    for (const answer of answers) expect(answer).toMatchObject({ status: 425, retryAfter: 1 });
    expect(Date.now() - begun).toBeLessThan(8_000);
    await opened.sql(one, "ROLLBACK");

    // Two handlers that wait for each other: the database gives one of them up.
    for (const thing of ["a", "b"]) await opened.sql(undefined, "INSERT INTO things VALUES (?)", [thing]);
    const lock = (db: unknown, thing: string) =>
      opened.sql(db, "SELECT * FROM things WHERE thing = ? FOR UPDATE", [thing]);
    let met = 0;
    const meet = async () => {
      met++;
      while (met < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    const crossing = (effect: string, first: string, second: string) =>
      opened.barrier.once(action(effect), async (db) => {
        await lock(db, first);
        await meet();
        await lock(db, second);
      });
    const statuses = (await Promise.all([crossing("F", "a", "b"), crossing("G", "b", "a")])).map(
      ({ status }) => status,
    );
    expect(statuses.sort()).toEqual([200, 425]);
    opened.giveBack(one);
  });

  it("has an own transaction committed, or answers a check-back that it was not, and never both", async () => {
    const recorded: boolean[] = [];
    for (let number = 0; number < 15; number++) {
      const asked = { ...action("E"), "undoubt-operation": "check-back", "undoubt-transaction": `order-${number}` };
      const asking = () => opened.barrier.once(asked, () => undefined);
      const committing = async () => {
        const db = await opened.take();
        try {
          await opened.sql(db, "BEGIN");
          await opened.barrier.own(db, `order-${number}`);
          await opened.sql(db, "COMMIT");
          return true;
        } catch {
          await opened.sql(db, "ROLLBACK");
          return false;
        } finally {
          opened.giveBack(db);
        }
      };
      const asks = number % 2 === 0 ? [asking()] : [];
      const [isCommitted, ...told] = await Promise.all([committing(), ...asks, asking()]);
      recorded.push(isCommitted);
      const statuses = [...told, await asking()].map(({ status }) => status).filter((status) => status !== 425);
      expect(new Set(statuses), `order-${number}`).toEqual(new Set([isCommitted ? 200 : 409]));
    }
    expect(recorded).toContain(true);
  });

  it("keeps nothing of a handler that swallows what has ended its transaction", async () => {
    const swallowing = opened.barrier.once(action("E"), async (db) => {
      await opened.sql(db, "INSERT INTO things VALUES ('7A')");
      await opened.sql(db, "ROLLBACK");
      return "done";
    });
    await expect(swallowing).rejects.toThrow();
    expect((await opened.barrier.once(action("E"), () => "again")).status).toBe(200);
  });

  it("purges what was last touched long ago", async () => {
    for (const effect of ["E", "F"]) await opened.barrier.once(action(effect), () => 1);
    expect(await opened.barrier.purge()).toBe(0);
    await opened.sql(undefined, "UPDATE undoubt_barrier SET touched_at = '2001-01-01 00:00:00' WHERE effect = 'E'");
    expect(await opened.barrier.purge("2d")).toBe(1);
    expect(await opened.sql(undefined, "SELECT effect FROM undoubt_barrier")).toEqual([{ effect: "F" }]);
  });
});
