// Compiles src/ into dist/.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));

export default function build() {
  rmSync(`${folder}/dist`, { recursive: true, force: true });
  execFileSync(process.execPath, [`${folder}/node_modules/typescript/bin/tsc`, "-p", "tsconfig.build.json"], {
    cwd: folder,
    stdio: "inherit",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build();
