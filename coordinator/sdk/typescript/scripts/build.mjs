// Compiles src/ into dist/.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));

/** Writes over what is there: other tests may be using it. */
export default function build() {
  const tsc = `${folder}/node_modules/typescript/bin/tsc`;
  execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: folder, stdio: "inherit" });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Nothing that was deleted in src/ is to be published.
  rmSync(`${folder}/dist`, { recursive: true, force: true });
  build();
}
