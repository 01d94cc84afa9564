// What becomes of a block whose coordinator crashes, and of one whose caller gives up.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Client, newId, post } from "../src/index.js";
import { until } from "./support/processes.js";
import { Service } from "./support/service.js";
import { Serve } from "./support/undoubt.js";

let serve: Serve;
let service: Service;

beforeAll(async () => {
  service = await Service.start(async ({ path }) => {
    if (path === "/slow") await sleep(3_000);
    return { status: 200, json: {} };
  });
  serve = await Serve.start([service.url]);
});
afterAll(async () => {
  await serve?.end();
  await service?.end();
});

const step = (path: string) => ({
  at: "http",
  do: post(service.url + path),
  undo: post(service.url + path),
  attempt_timeout: "10s",
});

describe("a coordinator that crashes in the middle of a block", () => {
  it("is waited for, and the block goes on", async () => {
    const id = newId();
    await new Client(serve.url).saga(id, async (saga) => {
      await saga.run("seat", step("/seat"));
      await serve.kill();
      const restarted = sleep(500).then(() => serve.restart());
      await saga.run("room", step("/room"));
      await restarted;
    });
    expect(service.done(id)).toEqual(["/seat action", "/room action"]);
    expect(await new Client(serve.url).get(id)).toMatchObject({ state: "committed" });
  });

  it("is waited for while it is closed, and while an action is under way", async () => {
    const id = newId();
    await new Client(serve.url).saga(id, async (saga) => {
      const running = saga.run("slow", step("/slow"));
      await until("the action is under way", () => service.done(id).length === 1);
      await serve.kill();
      await serve.restart();
      await running;
      await serve.kill();
      void sleep(300).then(() => serve.restart());
    });
    // What was under way when it crashed is asked for again, with the same key; a barrier does it once.
    expect(new Set(service.done(id))).toEqual(new Set(["/slow action"]));
    const keys = service.heard
      .filter(({ headers }) => headers["undoubt-transaction"] === id)
      .map(({ headers }) => headers["idempotency-key"]);
    expect(new Set(keys).size).toBe(1);
  });
});

describe("a caller that gives up", () => {
  it("has the saga turned back at once, whatever the block waits for", async () => {
    const [id, giving, reason] = [newId(), new AbortController(), new Error("the page was left")];
    const begun = Date.now();
    const block = new Client(serve.url).saga(
      id,
      async (saga) => {
        await saga.run("seat", step("/seat"));
        setTimeout(() => giving.abort(reason), 100);
        await sleep(60_000, undefined, { ref: false });
      },
      { signal: giving.signal },
    );
    await expect(block).rejects.toBe(reason);
    expect(Date.now() - begun).toBeLessThan(10_000);
    expect(service.done(id)).toEqual(["/seat action", "/seat compensation"]);
    expect(await new Client(serve.url).get(id)).toMatchObject({ state: "aborted", abort: { reason: "cancelled" } });
  });

  it("has it turned back also while an action is under way", async () => {
    const [id, giving] = [newId(), new AbortController()];
    const block = new Client(serve.url).saga(id, (saga) => saga.run("slow", step("/slow")), { signal: giving.signal });
    void until("the action is under way", () => service.done(id).length === 1).then(() => giving.abort());
    await expect(block).rejects.toThrow("aborted");
    expect(await new Client(serve.url).get(id, { wait: "20s" })).toMatchObject({ state: "aborted" });
    expect(service.done(id)).toEqual(["/slow action", "/slow compensation"]);
  });

  it("is not kept by a coordinator that does not answer: the saga's time limit turns it back", async () => {
    const [id, giving] = [newId(), new AbortController()];
    const client = new Client(serve.url);
    const block = client.saga(
      id,
      async (saga) => {
        await saga.run("seat", step("/seat"));
        await serve.kill();
        giving.abort();
        await saga.run("room", step("/room"));
      },
      { signal: giving.signal, deadline: "2s", timeout: "1s" },
    );
    const begun = Date.now();
    await expect(block).rejects.toThrow("aborted");
    expect(Date.now() - begun).toBeLessThan(4_000);
    await serve.restart();
    expect(await client.get(id, { wait: "20s" })).toMatchObject({ state: "aborted", abort: { reason: "deadline" } });
    expect(service.done(id)).toEqual(["/seat action", "/seat compensation"]);
  });
});
