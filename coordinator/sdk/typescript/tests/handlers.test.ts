import type { AddressInfo } from "node:net";
import express from "express";
import fastify from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { effect as expressEffect } from "../src/express.js";
import { effect as fastifyEffect } from "../src/fastify.js";
import { open, start } from "./support/databases.js";
import type { Database, Opened } from "./support/databases.js";

let database: Database;
let opened: Opened;
beforeAll(async () => {
  database = await start("PostgreSQL");
  opened = open("PostgreSQL", database.port);
  await opened.barrier.createTable();
});
afterAll(async () => {
  await opened?.end();
  await database?.end();
});

const handlers = {
  action: (_: unknown, { body }: { body?: any }) => {
    if (body.thing === "teapot") throw Object.assign(new Error("I am one"), { statusCode: 418, expose: true });
    if (body.thing === "elsewhere") throw Object.assign(new Error("the bank does not know us"), { status: 401 });
    if (body.thing === "bug") throw new Error("a bug");
    return { thing: body.thing };
  },
  compensation: () => undefined,
};

/** Each starts a server, and returns its port and what ends it. */
const frameworks: Record<string, () => Promise<{ port: number; end: () => unknown }>> = {
  Express: () => {
    const app = express();
    app.post("/things", express.json(), expressEffect(opened.barrier, handlers));
    app.use(
      ((_error, _request, response, _next) =>
        void response
          .status((_error as { status?: number }).status ?? 500)
          .json({})) satisfies express.ErrorRequestHandler,
    );
    return new Promise((resolve) => {
      const server = app.listen(0, "127.0.0.1", () =>
        resolve({ port: (server.address() as AddressInfo).port, end: () => server.close() }),
      );
    });
  },
  Fastify: async () => {
    const app = fastify();
    app.post("/things", fastifyEffect(opened.barrier, handlers));
    await app.listen({ host: "127.0.0.1", port: 0 });
    return { port: (app.server.address() as AddressInfo).port, end: () => app.close() };
  },
};

describe.each(Object.entries(frameworks))("with %s", (name, startServer) => {
  let server: { port: number; end: () => unknown };
  beforeAll(async () => void (server = await startServer()));
  afterAll(() => void server?.end());

  async function call(operation: string | undefined, thing: string, effect = `${name}/${thing}`) {
    const said =
      operation === undefined
        ? {}
        : { "undoubt-operation": operation, "undoubt-effect": effect, "undoubt-transaction": "order%2F17" };
    const answer = await fetch(`http://127.0.0.1:${server.port}/things`, {
      method: "POST",
      headers: { "content-type": "application/json", ...said },
      body: JSON.stringify({ thing }),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      type: answer.headers.get("content-type"),
      retryAfter: answer.headers.get("retry-after"),
      text,
    };
  }

  it("each call is answered, and again", async () => {
    for (let times = 0; times < 2; times++) {
      expect(await call("action", "7A")).toEqual({
        status: 200,
        type: "application/json",
        retryAfter: null,
        text: '{"thing":"7A"}',
      });
    }
    expect(await call("compensation", "7A")).toMatchObject({ status: 200, type: null, text: "" });
    expect(await call("compensation", "7B")).toMatchObject({ status: 200, text: "" });
    expect(await call("action", "7B")).toMatchObject({
      status: 409,
      type: "application/problem+json",
      text: expect.stringContaining("LATE") as string,
    });
  });

  it("an error that shows its status of 4xx is a refusal of that status, for good; any other is 500", async () => {
    for (let times = 0; times < 2; times++) {
      expect(await call("action", "teapot")).toMatchObject({
        status: 418,
        text: expect.stringContaining("I am one") as string,
      });
    }
    expect(await call("action", "bug")).toMatchObject({ status: 500 });
    expect(await call("action", "elsewhere")).toMatchObject({ status: 500 });
    expect(await call("action", "fixed", `${name}/bug`)).toMatchObject({ status: 200 });
  });

  it("what nobody handles, or nobody can read, is 400, and nothing is kept", async () => {
    expect(await call("completion", "7C")).toMatchObject({
      status: 400,
      text: expect.stringContaining("it has no handler") as string,
    });
    expect(await call(undefined, "7C")).toMatchObject({
      status: 400,
      text: expect.stringContaining("Undoubt-Effect") as string,
    });
    expect(await opened.sql(undefined, "SELECT * FROM undoubt_barrier WHERE effect LIKE '%/7C'")).toEqual([]);
  });

  it("a check-back needs no handler", async () => {
    expect(await call("check-back", "")).toMatchObject({
      status: 409,
      text: expect.stringContaining("NOT_COMMITTED") as string,
    });
    const db = await opened.take();
    await expect(opened.barrier.own(db, "order/17")).rejects.toThrow("roll it back");
    opened.giveBack(db);
    await opened.sql(undefined, "DELETE FROM undoubt_barrier WHERE effect = 'own/order%2F17'");
  });
});
