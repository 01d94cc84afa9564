import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Aborted, Client, Committed, NotFound, Refused, StepRefused, newId, post } from "../src/index.js";
import type { Saga } from "../src/index.js";
import { Proxy } from "./support/proxy.js";
import { Serve } from "./support/undoubt.js";
import { Service } from "./support/service.js";

let serve: Serve;
let service: Service;
let client: Client;

beforeAll(async () => {
  service = await Service.start(({ path }) =>
    path === "/taken" ? { status: 409, json: "taken" } : { status: 200, json: { price: 30 } },
  );
  serve = await Serve.start([service.url]);
  client = new Client(serve.url);
});
afterAll(async () => {
  await serve?.end();
  await service?.end();
});

const at = "http";
const step = (path: string) => ({ at, do: post(service.url + path, { path }), undo: post(service.url + path) });

describe("transactions", () => {
  it("are submitted once, whatever is repeated, and told again", async () => {
    const id = newId();
    const document = { id, branches: { store: [`add ${id} 1`, `get ${id}`] } };
    expect(await client.submit(document)).toMatchObject({
      tx: id,
      state: "committed",
      results: { store: { values: ["1", "1"] } },
    });
    expect(await client.submit(document)).toMatchObject({
      state: "committed",
      results: { store: { values: ["1", "1"] } },
    });
    expect(await client.get(id)).toMatchObject({ tx: id, state: "committed", heuristic_damage: false });
    expect(
      await client.submit({ ...document, branches: { store: ["add x 2"] } }).catch((error: unknown) => error),
    ).toMatchObject({ code: "OTHER_CONTENT", tx: id });
  });

  it("tell what is wrong with them", async () => {
    await expect(client.get(newId())).rejects.toThrow(NotFound);
    await expect(client.submit({ branches: {} })).rejects.toMatchObject({
      code: "NO_BRANCHES",
      status: 400,
      retryable: false,
    });
    await expect(client.submit({ branches: { nobody: ["get x"] } })).rejects.toMatchObject({
      code: "UNKNOWN_PARTICIPANT",
    });
  });

  it("are listed page by page", async () => {
    const prefix = newId();
    const ids = Array.from({ length: 5 }, (_, number) => `${prefix}-${number}`);
    for (const id of ids) await client.submit({ id, branches: { store: ["add listed 1"] } });
    const listed: string[] = [];
    for await (const { tx } of client.list({ id_prefix: prefix, limit: 2 })) listed.push(tx);
    expect(listed.sort()).toEqual(ids);
  });
});

describe("a saga as code", () => {
  it("returns what its block returns, and has closed", async () => {
    let id = "";
    const price = await client.saga(async (saga) => {
      id = saga.id;
      const seat = await saga.run("seat", step("/seat"));
      await saga.run("room", { ...step("/room"), complete: post(`${service.url}/room`) });
      return seat.json<{ price: number }>()?.price;
    });
    expect(price).toBe(30);
    expect(await client.get(id)).toMatchObject({ state: "committed", saga: true });
    expect(service.done(id)).toEqual(["/seat action", "/room action", "/room completion"]);
  });

  it("is turned back when its block throws, and the error goes on once that is done", async () => {
    const id = newId();
    const error = new Error("no money");
    const block = client.saga(id, async (saga) => {
      await saga.run("seat", step("/seat"));
      throw error;
    });
    await expect(block).rejects.toBe(error);
    expect(service.done(id)).toEqual(["/seat action", "/seat compensation"]);
    expect(await client.get(id)).toMatchObject({ state: "aborted", abort: { reason: "cancelled" } });
  });

  it("is turned back by a step that is refused, unless the block goes another way", async () => {
    const id = newId();
    const block = client.saga(id, async (saga) => {
      await saga.run("seat", step("/seat"));
      await saga.run("taken", step("/taken"));
    });
    await expect(block).rejects.toThrow(StepRefused);
    expect(service.done(id)).toEqual(["/seat action", "/taken action", "/seat compensation"]);

    const other = newId();
    await client.saga(other, async (saga) => {
      await saga.run("taken", step("/taken")).catch(() => saga.run("room", step("/room")));
    });
    expect(await client.get(other)).toMatchObject({ state: "committed" });
  });

  it("aborts where its time is over before it is closed", async () => {
    const block = client.saga(
      async (saga) => {
        await saga.run("seat", step("/seat"));
        await sleep(1_500);
      },
      { deadline: "1s" },
    );
    await expect(block).rejects.toThrow(Aborted);
    await expect(block).rejects.toMatchObject({ reason: "deadline", retryable: true });
  });

  it("may be cancelled by its block, and is not closed then", async () => {
    const id = newId();
    const block = client.saga(id, async (saga) => {
      await saga.run("seat", step("/seat"));
      await saga.cancel();
      return "changed my mind";
    });
    expect(await block).toBe("changed my mind");
    expect(await client.get(id)).toMatchObject({ state: "aborted" });
  });

  it("says what stands against turning it back, beside the error that its block threw", async () => {
    let saga: Saga | undefined;
    const error = new Error("no money");
    const block = client.saga(async (own) => {
      saga = own;
      await client.resume(own.id).close();
      throw error;
    });
    await expect(block).rejects.toBe(error);
    expect(saga?.problem).toBeInstanceOf(Committed);
  });

  it("says so where a block wants an abort, and somebody else has closed it", async () => {
    const block = client.saga(async (saga) => {
      await client.resume(saga.id).close();
      await saga.cancel().catch((error: unknown) => expect(error).toMatchObject({ code: "TOO_LATE" }));
    });
    await expect(block).rejects.toThrow(Committed);
  });

  it("is refused where its terms are, and nothing of the block runs", async () => {
    let ran = false;
    const block = client.saga(async () => void (ran = true), { deadline: "soon" });
    await expect(block).rejects.toThrow(Refused);
    expect(ran).toBe(false);
  });

  it("is a part of another", async () => {
    const id = newId();
    const outer = client.saga(async (outer) => {
      await client.saga(id, async (inner) => void (await inner.run("seat", step("/seat"))), { parent: outer.id });
      expect(await client.get(id)).toMatchObject({ state: "closed" });
      throw new Error("back");
    });
    await expect(outer).rejects.toThrow("back");
    expect(service.done(id)).toEqual(["/seat action", "/seat compensation"]);
  });

  it("asks back whether a transaction of one's own was committed", async () => {
    const saga = await client.begin({
      deadline: "500ms",
      check_back: { at, ask: [`http get ${service.url}/committed`] },
    });
    await saga.join("mail", { at, complete: post(`${service.url}/mail`) });
    expect(await client.get(saga.id, { wait: "20s" })).toMatchObject({ state: "committed" });
    expect(service.done(saga.id)).toEqual(["/committed check-back", "/mail completion"]);
  });
});

describe("answers that are lost", () => {
  it("are asked for again, and everything is done once", async () => {
    const proxy = await Proxy.start(
      serve.url,
      (_, earlier) => (["answer lost", "request lost"] as const)[earlier] ?? "passes",
    );
    const id = newId();
    await new Client(proxy.url).saga(id, async (saga) => {
      await saga.run("seat", step("/seat"));
      await saga.run("room", step("/room"));
    });
    expect(service.done(id)).toEqual(["/seat action", "/room action"]);
    expect(proxy.passed).toHaveLength(5 * 3);
    await proxy.end();
  });

  it("leave an outcome unknown once the time is over, and the id to ask about", async () => {
    const proxy = await Proxy.start(serve.url, () => "answer lost");
    const lost = new Client(proxy.url, { timeout: "700ms" });
    const document = { branches: { store: ["add lost 1"] } };
    const error = await lost.submit(document).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "OUTCOME_UNKNOWN", retryable: true });
    expect(await client.get((error as { tx: string }).tx)).toMatchObject({ state: "committed" });
    await proxy.end();
  });
});

describe("events", () => {
  it("go on where the stream was cut, none twice and none left out", async () => {
    const proxy = await Proxy.start(serve.url, (line, earlier) =>
      line.endsWith("/events") && earlier < 4 ? { cutAfterEvents: 2 } : "passes",
    );
    const saga = await client.begin();
    const told: string[] = [];
    const watching = (async () => {
      for await (const { cursor, event } of new Client(proxy.url).watch(saga.id)) told.push(`${cursor} ${event}`);
    })();
    await sleep(300);
    for (const name of ["a", "b", "c"]) {
      await saga.run(name, step(`/${name}`));
      await sleep(300);
    }
    await saga.close();
    await watching;
    const resumed = proxy.passed.filter(({ headers }) => headers["last-event-id"] !== undefined);
    expect(resumed.length).toBeGreaterThan(1);
    expect(new Set(told).size).toBe(told.length);
    const history = (await client.get(saga.id)).history.map(({ event }) => event);
    const seen = told.map((line) => line.split(" ")[1]);
    expect(seen.slice(-1)).toEqual(["logged"]);
    for (const event of ["joined", "sent", "acted"] as const) {
      expect(
        seen.filter((one) => one === event),
        event,
      ).toHaveLength(history.filter((one) => one === event).length);
    }
    await proxy.end();
  });

  it("end with the signal, and tell of what nobody knows", async () => {
    const ending = new AbortController();
    const watching = client.events({ signal: ending.signal });
    const first = watching.next();
    await sleep(300);
    await client.submit({ id: `watched-${newId()}`, branches: { store: ["add watched 1"] } });
    expect((await first).value).toMatchObject({
      tx: expect.any(String) as string,
      event: expect.any(String) as string,
    });
    ending.abort();
    await expect(
      (async () => {
        for await (const _ of watching);
      })(),
    ).rejects.toThrow("aborted");
    await expect(client.watch(newId()).next()).rejects.toThrow(NotFound);
  });
});
