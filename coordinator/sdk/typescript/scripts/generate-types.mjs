// Writes src/api.ts from the gateway's description. A test holds the file to it.
import { readFile, writeFile } from "node:fs/promises";
import openapi, { astToString } from "openapi-typescript";

const description = new URL("../../../gateway/openapi.json", import.meta.url);
const target = new URL("../src/api.ts", import.meta.url);

/** Returns the text of src/api.ts. */
export async function generate() {
  const ast = await openapi(await readFile(description, "utf8"), { emptyObjectsUnknown: true, alphabetize: true, defaultNonNullable: false });
  return `// Generated from coordinator/gateway/openapi.json by "npm run types". Change that, not this.\n\n${astToString(ast)}`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) await writeFile(target, await generate());
