import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
// @ts-expect-error It is a script without types.
import { generate } from "../scripts/generate-types.mjs";

it("generated files are those of the gateway's description and of the shared schemas", async () => {
  for (const [path, text] of Object.entries(await (generate as () => Promise<Record<string, string>>)())) {
    expect(readFileSync(new URL(`../${path}`, import.meta.url), "utf8"), `${path}: npm run types`).toBe(text);
  }
});
