// Writes src/api.ts from the gateway's description, and src/barrier/schema.ts from the schemas that all SDKs share. A test holds the
// files to that.
import { readFile, writeFile } from "node:fs/promises";
import openapi, { astToString } from "openapi-typescript";

const read = (path) => readFile(new URL(`../../../${path}`, import.meta.url), "utf8");

async function api() {
  const options = { emptyObjectsUnknown: true, alphabetize: true, defaultNonNullable: false };
  const text = astToString(await openapi(await read("gateway/openapi.json"), options));
  return `// Generated from coordinator/gateway/openapi.json by "npm run types". Change that, not this.\n\n${text}`;
}

async function schema() {
  const constants = { POSTGRESQL: "schema.postgresql.sql", MYSQL: "schema.mysql.sql" };
  const texts = Object.entries(constants).map(
    async ([name, file]) => `\nexport const ${name} = \`${await read(`sdk/vectors/${file}`)}\`;\n`,
  );
  return `// Generated from coordinator/sdk/vectors/schema.*.sql by "npm run types". Change those, not this.\n${(await Promise.all(texts)).join("")}`;
}

/** Returns the text of each generated file, by its path. */
export async function generate() {
  return { "src/api.ts": await api(), "src/barrier/schema.ts": await schema() };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const [path, text] of Object.entries(await generate()))
    await writeFile(new URL(`../${path}`, import.meta.url), text);
}
