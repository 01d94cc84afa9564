// What the package costs over calls by hand. The figures are printed.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { KINDS, start } from "./support/databases.js";

const PROGRAM = fileURLToPath(new URL("../scripts/overhead.mjs", import.meta.url));
/** The most that is allowed, in percent of the CPU time of a call by hand. */
const MAX_PERCENT = 10;
/** A machine that does other things beside tells nonsense now and then: so often it is measured, and the least counts. */
const TRIES = 3;

async function measured(...role: string[]): Promise<void> {
  let least = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < TRIES && least > MAX_PERCENT; tries++) {
    const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, ...role]);
    console.log(stdout.trim());
    least = Math.min(least, (JSON.parse(stdout) as { overhead_percent: number }).overhead_percent);
  }
  expect(least).toBeLessThanOrEqual(MAX_PERCENT);
}

it("of the client", () => measured("client"));

it.each(KINDS)("of the barrier over %s", async (kind) => {
  const database = await start(kind);
  try {
    await measured(kind, String(database.port));
  } finally {
    await database.end();
  }
});
