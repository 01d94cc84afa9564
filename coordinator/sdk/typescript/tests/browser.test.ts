// The client in a page of a browser, which has the gateway behind the server that the page comes from.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Client, newId } from "../src/index.js";
import { until } from "./support/processes.js";
import { Proxy } from "./support/proxy.js";
import { Service } from "./support/service.js";
import { Serve } from "./support/undoubt.js";

declare global {
  /** The package, as the page has it. */
  var undoubt: typeof import("../src/index.js");
}

const PAGE = `<!doctype html><title>shop</title><script type="module">
  import * as undoubt from "/undoubt/index.js";
  globalThis.undoubt = undoubt;
</script>`;
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-headless-shell", "/usr/bin/google-chrome"];
const executablePath = [process.env.CHROMIUM ?? "", ...PLACES].find((path) => path !== "" && existsSync(path));
if (executablePath === undefined) {
  console.warn(
    "\n*** SKIPPED: no browser, so nobody tries the client in one. apt-get install chromium-headless-shell, or set CHROMIUM. ***\n",
  );
}

/** Returns the package's files as pages. Nothing bundles them. */
function modules(): Record<string, [string, string]> {
  const dist = fileURLToPath(new URL("../dist", import.meta.url));
  const files = readdirSync(dist).filter((name) => name.endsWith(".js"));
  return Object.fromEntries(
    files.map((name) => [`/undoubt/${name}`, ["text/javascript", readFileSync(join(dist, name), "utf8")]]),
  );
}

describe.skipIf(executablePath === undefined)("in a page", () => {
  let [serve, service, proxy, browser]: [Serve?, Service?, Proxy?, Browser?] = [];

  beforeAll(async () => {
    service = await Service.start();
    serve = await Serve.start([service.url]);
    proxy = await Proxy.start(serve.url, () => "passes", { ...modules(), "/": ["text/html", PAGE] });
    browser = await chromium.launch({ executablePath: executablePath! });
  });
  afterAll(async () => {
    await browser?.close();
    await proxy?.end();
    await serve?.end();
    await service?.end();
  });

  async function opened(): Promise<Page> {
    const page = await browser!.newPage();
    await page.goto(proxy!.url);
    await page.waitForFunction(() => "undoubt" in globalThis);
    return page;
  }

  it("a saga runs as it does in a server", async () => {
    const id = newId();
    const page = await opened();
    const told = await page.evaluate(
      async ({ id, url }) => {
        const { Client, post } = undoubt;
        const client = new Client(location.origin);
        const price = await client.saga(id, async (saga) => {
          const seat = await saga.run("seat", { at: "http", do: post(`${url}/seat`), undo: post(`${url}/seat`) });
          return seat.json<{ price: number }>()?.price;
        });
        const watched: unknown[] = [];
        const other = await client.begin();
        const watching = (async () => {
          for await (const { event } of client.watch(other.id)) watched.push(event);
        })();
        await new Promise((resolve) => setTimeout(resolve, 300));
        await other.cancel();
        await watching;
        const unknown = await client.get("nobody").catch((error: Error) => error.name);
        return { price, unknown, watched };
      },
      { id, url: service!.url },
    );
    expect(told).toMatchObject({ price: 30, unknown: "NotFound" });
    expect(told.watched).toContain("decided");
    expect(service!.done(id)).toEqual(["/seat action"]);
    await page.close();
  });

  it("a saga whose tab closes is turned back by its time limit", async () => {
    const id = newId();
    const page = await opened();
    void page
      .evaluate(
        async ({ id, url }) => {
          const { Client, post } = undoubt;
          const block = new Client(location.origin).saga(
            id,
            async (saga) => {
              await saga.run("seat", { at: "http", do: post(`${url}/seat`), undo: post(`${url}/seat`) });
              await new Promise(() => {});
            },
            { deadline: "2s" },
          );
          await block;
        },
        { id, url: service!.url },
      )
      .catch(() => {});
    await until("the seat is taken", () => service!.done(id).length === 1);
    await page.close();
    expect(await new Client(serve!.url).get(id, { wait: "20s" })).toMatchObject({
      state: "aborted",
      abort: { reason: "deadline" },
    });
    expect(service!.done(id)).toEqual(["/seat action", "/seat compensation"]);
  });
});
