import { mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Running, freePort, until } from "./processes.js";

/** Returns the folder of the project's programs, which `UNDOUBT_BIN` names. */
function programs(): string {
  const folder = process.env.UNDOUBT_BIN;
  if (folder === undefined || !existsSync(join(folder, "undoubt"))) {
    const told = folder === undefined ? "it is not set" : `${folder} has no program undoubt`;
    throw new Error(
      `UNDOUBT_BIN has to name the folder with the program undoubt, and ${told}; \`make build\` makes it`,
    );
  }
  return folder;
}

/** A private `undoubt serve`: a coordinator, a gateway, a participant `store`, and one over HTTP services, `http`. */
export class Serve {
  readonly url: string;
  readonly #folder: string;
  readonly #args: string[];
  #running: Running;

  private constructor(url: string, folder: string, args: string[]) {
    [this.url, this.#folder, this.#args] = [url, folder, args];
    this.#running = this.#spawn();
  }

  /** Starts one. `allow`: the services that it may call; `settings` like `retention_s=60`. */
  static async start(allow: string[] = [], settings: string[] = []): Promise<Serve> {
    const folder = await mkdtemp(join(tmpdir(), "undoubt-ts-"));
    const [grpc, http] = [await freePort(), await freePort()];
    const all = [
      `gateway.listen=127.0.0.1:${http}`,
      ...(allow.length > 0 ? [`http.allow=${allow.join(",")}`] : []),
      ...settings,
    ];
    const args = [
      "serve",
      "--data-dir",
      folder,
      "--listen",
      `127.0.0.1:${grpc}`,
      ...all.flatMap((setting) => ["--set", setting]),
    ];
    const serve = new Serve(`http://127.0.0.1:${http}`, folder, args);
    await serve.#ready();
    return serve;
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    await this.#running.end();
  }

  /** Starts it again on the same data. */
  async restart(): Promise<void> {
    await this.#running.end();
    this.#running = this.#spawn();
    await this.#ready();
  }

  async end(): Promise<void> {
    await this.#running.end();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #spawn(): Running {
    return new Running(join(programs(), "undoubt"), this.#args);
  }

  #ready(): Promise<void> {
    const isReady = async () => {
      if (!this.#running.isRunning) throw new Error(`undoubt serve ended:\n${this.#running.log}`);
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined);
      return answer?.ok ?? false;
    };
    return until("undoubt serve is ready", isReady, 30_000, () => this.#running.log);
  }
}
