import { spawn } from "node:child_process";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { createServer } from "node:net";
import { setTimeout as after } from "node:timers/promises";

/** The most characters of a process's output that are kept, for the message of a failure. */
const MAX_LOG_CHARS = 20_000;

/** A process that ends with the test that started it, also where that is killed. */
export class Running {
  readonly pid: number;
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #guard: ChildProcess;
  #log = "";

  constructor(program: string, args: string[], options: SpawnOptions = {}) {
    this.#child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    this.pid = this.#child.pid ?? 0;
    this.ended = new Promise((resolve) => {
      this.#child.once("exit", (code) => resolve(code));
      this.#child.once("error", () => resolve(null));
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (text: Buffer) => (this.#log = (this.#log + text.toString()).slice(-MAX_LOG_CHARS)));
    }
    // It waits for the end of the pipe that this process holds.
    this.#guard = spawn("sh", ["-c", `cat >/dev/null; kill -9 ${this.pid} 2>/dev/null`], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#guard.unref();
    void this.ended.then(() => this.#guard.kill("SIGKILL"));
  }

  get log(): string {
    return this.#log;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.pid !== 0;
  }

  /** Ends it as a crash does, or in order. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.isRunning) this.#child.kill(signal);
    await this.ended;
  }
}

/** Returns a port of loopback that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

/** Waits until something is so, for at most so many milliseconds. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  limit = 30_000,
  told = () => "",
): Promise<void> {
  const end = Date.now() + limit;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`${what} within ${limit} ms: no\n${told()}`);
    await after(25);
  }
}
