import { describe, expect, it } from "vitest";
import * as undoubt from "../src/index.js";
import { Client, UndoubtError } from "../src/index.js";
import { unlike } from "../src/saga.js";
import type { Known, Wanted } from "../src/saga.js";
import { onlyKnown, vectors } from "./support/vectors.js";

type Given = "cut" | "refused" | { status: number; headers?: Record<string, string>; json?: unknown; text?: string };
interface AnswerVector {
  name: string;
  why: string;
  call: string;
  given: Given[];
  expect: { asked: number | "until timeout"; result?: object; error?: { class: string } & Record<string, unknown> };
}
interface OutcomeVector {
  name: string;
  why: string;
  wanted: Wanted;
  known: Known;
  expect: { error?: { class: string } & Record<string, unknown> };
}

const file = vectors<{ answers: AnswerVector[]; outcomes: OutcomeVector[] }>("answers.json");
/** Enough for one repetition after a second, as most answers wish for. */
const TIMEOUT = "1500ms";

/** Returns a `fetch` that answers with each in turn, and the last one again and again. */
function answering(all: Given[]) {
  let asked = 0;
  const answer: typeof fetch = async () => {
    const given = all[Math.min(asked++, all.length - 1)]!;
    if (given === "refused")
      throw new TypeError("fetch failed", { cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" }) });
    if (given === "cut")
      throw new TypeError("fetch failed", {
        cause: Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" }),
      });
    onlyKnown("given", given, ["status", "headers", "json", "text"]);
    const { status, headers = {}, json, text = JSON.stringify(json) } = given;
    return new Response(text, { status, headers });
  };
  return { answer, asked: () => asked };
}

async function call(client: Client, name: string): Promise<object> {
  switch (name) {
    case "submit":
      return client.submit({ id: "a", branches: { store: ["add x 1"] } });
    case "get":
      return client.get("a");
    case "cancel":
      return client.cancel("a");
    case "begin":
      return { tx: (await client.begin({ id: "a" })).id, state: "pending" };
    case "run":
      return client.resume("a").run("s", { at: "store", do: "add x 1", undo: "add x -1" });
    case "close":
      return client.resume("a").close();
    default:
      throw new Error(`this SDK does not know the call ${name}`);
  }
}

function check(error: unknown, { class: name, ...members }: { class: string } & Record<string, unknown>): void {
  expect(error).toBeInstanceOf(UndoubtError);
  const classes = undoubt as unknown as Record<string, unknown>;
  expect((error as object).constructor, `${(error as Error).message}`).toBe(classes[name]);
  expect(error).toMatchObject(members);
}

describe("answers.json", () => {
  it("has nothing that this SDK does not know", () => onlyKnown("answers.json", file, ["answers", "outcomes"]));

  it.concurrent.each(file.answers)("$name: $why", async ({ call: name, given, expect: expected }) => {
    onlyKnown("expect", expected, ["asked", "result", "error"]);
    const { answer, asked } = answering(given);
    const client = new Client("http://gateway.example", {
      fetch: answer,
      timeout: expected.asked === "until timeout" ? TIMEOUT : "30s",
    });
    const calling = call(client, name);
    if (expected.error !== undefined) check(await calling.catch((error: unknown) => error), expected.error);
    else expect(await calling).toMatchObject(expected.result!);
    if (expected.asked === "until timeout") expect(asked()).toBeGreaterThan(1);
    else expect(asked()).toBe(expected.asked);
  });

  it.each(file.outcomes)("outcome $name: $why", ({ wanted, known, expect: expected }) => {
    onlyKnown("expect", expected, ["error"]);
    const error = unlike(wanted, known);
    if (expected.error === undefined) expect(error).toBeUndefined();
    else check(error, expected.error);
  });
});
