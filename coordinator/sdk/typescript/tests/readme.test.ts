// The README's snippets are checked by the compiler, and its first page is run as it stands.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { start } from "./support/databases.js";
import type { Database } from "./support/databases.js";
import { freePort } from "./support/processes.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const firstPage = readme.slice(readme.indexOf("## Ten minutes"), readme.indexOf("## What becomes of a block"));

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map((found) => found[1] ?? "");
}

let folder: string;
let database: Database;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "undoubt-ts-readme-"));
  installed(folder);
  database = await start("PostgreSQL");
});
afterAll(async () => {
  await database?.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Does what the README's \`npm install\` does, without a registry: the package is packed and unpacked, others are those of this folder. */
function installed(folder: string): void {
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  for (const name of ["@types", "express", "fastify", "mysql2", "pg", "typescript", ".bin"])
    symlinkSync(join(root, "node_modules", name), join(modules, name));
  const told = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: root,
  }).toString();
  const [packed] = JSON.parse(told) as [{ filename: string; files: { path: string }[] }];
  const paths = packed.files.map(({ path }) => path);
  for (const path of [
    "dist/index.js",
    "dist/index.d.ts",
    "dist/barrier/pg.js",
    "src/index.ts",
    "README.md",
    "package.json",
  ])
    expect(paths).toContain(path);
  expect(paths.filter((path) => !/^(dist|src)\/|^(README\.md|LICENSE|package\.json)$/.test(path))).toEqual([]);
  execFileSync("tar", ["-xzf", packed.filename], { cwd: folder });
  execFileSync("mv", ["package", join(modules, "undoubt")], { cwd: folder });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
}

const compile = (files: string[]) => {
  const flags = [
    "--strict",
    "--noUncheckedIndexedAccess",
    "--module",
    "nodenext",
    "--target",
    "es2022",
    "--skipLibCheck",
  ];
  return execFileSync("node_modules/.bin/tsc", [...flags, ...files], { cwd: folder, encoding: "utf8" });
};

it("has snippets that the compiler takes", () => {
  const files = blocks(readme, "ts").map((snippet, number) => {
    writeFileSync(join(folder, `snippet-${number}.ts`), snippet);
    return `snippet-${number}.ts`;
  });
  expect(files).toHaveLength(4);
  expect(compile([...files, "--noEmit"])).toBe("");
});

it("has a first page that does what it says", async () => {
  const ports = { "9001": await freePort(), "9002": await freePort(), "7480": await freePort() };
  const replaced = (text: string) =>
    Object.entries(ports)
      .reduce((all, [port, free]) => all.replaceAll(port, String(free)), text)
      .replaceAll("/tmp/undoubt", join(folder, "undoubt"));
  for (const snippet of blocks(firstPage, "ts")) {
    const name = /^\/\/ (\S+\.ts):/.exec(snippet)?.[1] ?? "";
    writeFileSync(join(folder, name), replaced(snippet));
  }
  const lines = blocks(firstPage, "console")
    .join("")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("$ npm "));
  const commands = lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
  const expected = lines.filter((line) => !line.startsWith("$ ")).join("\n");
  // Ends what the page leaves running.
  const script = `set -m; trap 'kill -9 $(jobs -p) 2>/dev/null' EXIT\n${replaced(commands.join("\n"))}\n`;
  const told = await run(script, {
    ...process.env,
    PATH: [process.env.UNDOUBT_BIN, process.env.PATH].join(delimiter),
    UNDOUBT_SERVE_LISTEN: `127.0.0.1:${await freePort()}`,
    UNDOUBT_SERVE_GATEWAY_LISTEN: `127.0.0.1:${ports["7480"]}`,
    PGHOST: "127.0.0.1",
    PGPORT: String(database.port),
    PGUSER: "postgres",
    PGDATABASE: "postgres",
  });
  expect(told.trim()).toBe(expected);
});

function run(script: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const shell = spawn("timeout", ["--kill-after=5", "200", "bash", "-e"], { cwd: folder, env });
    let [told, errors] = ["", ""];
    shell.stdout.on("data", (text: Buffer) => (told += text.toString()));
    shell.stderr.on("data", (text: Buffer) => (errors += text.toString()));
    shell.once("exit", (code) =>
      code === 0 ? resolve(told) : reject(new Error(`exit code ${code}\n${told}\n${errors}`)),
    );
    shell.stdin.end(script);
  });
}
