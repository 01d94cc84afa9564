import { describe, expect, it } from "vitest";
import { Client, OpenSaga, http, post } from "../src/index.js";
import type { JoinedStep, Submission } from "../src/index.js";
import { onlyKnown, vectors } from "./support/vectors.js";

interface Expected {
  method: string;
  path: string;
  query: Record<string, string>;
  headers?: Record<string, string>;
  absent?: string[];
  body?: unknown;
}
interface RequestVector {
  call: string;
  why: string;
  with: Record<string, unknown>;
  expect: Expected;
}
interface WorkVector {
  call: string;
  why: string;
  with: {
    method?: string;
    url: string;
    json?: unknown;
    headers?: Record<string, string>;
    take?: Record<string, string>;
    body?: string;
  };
  expect: unknown;
}

const file = vectors<{ token: string; requests: RequestVector[]; work: WorkVector[] }>("requests.json");
const UUID7 = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/;

/** Makes the call of a vector. Its answer does not matter. */
async function call(client: Client, name: string, given: Record<string, any>): Promise<void> {
  const { id, step, document, ...rest } = given;
  switch (name) {
    case "submit":
      return void (await client.submit(document as Submission, rest));
    case "get":
      return void (await client.get(id, rest));
    case "cancel":
      return void (await client.cancel(id, rest));
    case "list":
      return void (await client.list(rest).next());
    case "begin":
      return void (await client.begin(given));
    case "run":
      return void (await client.resume(id).run(step, rest as JoinedStep));
    case "join":
      return void (await client.resume(id).join(step, rest as JoinedStep));
    case "close":
      return void (await client.resume(id).close(rest));
    case "watch":
      return void (await client.watch(id, rest).next());
    case "events":
      return void (await client.events(rest).next());
    default:
      throw new Error(`this SDK does not know the call ${name}`);
  }
}

/** Replaces ids that were drawn by the vectors' word for them. */
function withoutDrawn(value: unknown): unknown {
  if (typeof value === "string") return value.replace(UUID7, "<uuid7>");
  if (Array.isArray(value)) return value.map(withoutDrawn);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withoutDrawn(member)]));
}

describe("requests.json", () => {
  it("has nothing that this SDK does not know", () => onlyKnown("requests.json", file, ["token", "requests", "work"]));

  it.each(file.requests)("$call: $why", async ({ call: name, with: given, expect: expected }) => {
    onlyKnown("expect", expected, ["method", "path", "query", "headers", "absent", "body"]);
    const asked: { url: URL; init: RequestInit }[] = [];
    const answer: typeof fetch = async (input, init = {}) => {
      asked.push({ url: new URL(String(input)), init });
      const isStream = new Headers(init.headers).get("accept") === "text/event-stream";
      return new Response(
        isStream ? "event: end\ndata: {}\n\n" : JSON.stringify({ transactions: [], cursor: null, tx: "a" }),
      );
    };
    await call(new Client("http://gateway.example/", { token: file.token, fetch: answer }), name, given);

    expect(asked).toHaveLength(1);
    const { url, init } = asked[0]!;
    const headers = new Headers(init.headers);
    expect(init.method).toBe(expected.method);
    expect(withoutDrawn(url.pathname)).toBe(expected.path);
    expect(Object.fromEntries(url.searchParams)).toEqual(expected.query);
    for (const [header, value] of Object.entries(expected.headers ?? {}))
      expect(headers.get(header), header).toBe(value);
    for (const header of expected.absent ?? []) expect(headers.has(header), header).toBe(false);
    if ("body" in expected) expect(withoutDrawn(JSON.parse(String(init.body)))).toEqual(expected.body);
    else expect(init.body ?? null).toBeNull();
  });

  it.each(file.work)("work: $why", ({ call: name, with: given, expect: expected }) => {
    onlyKnown("with", given, ["method", "url", "json", "headers", "take", "body"]);
    const { method, url, json, take, ...rest } = given;
    const parts = take === undefined ? rest : { ...rest, from: take };
    if (name === "post") return expect(post(url, json, parts)).toEqual(expected);
    if (name === "http") return expect(http(method!, url, json, parts)).toEqual(expected);
    throw new Error(`this SDK does not know the work ${name}`);
  });
});

it("an open saga is known by its id alone", () => {
  expect(new Client("http://gateway.example").resume("a")).toBeInstanceOf(OpenSaga);
});
