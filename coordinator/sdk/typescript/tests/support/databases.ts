// Private database servers, on free ports of loopback and in temporary folders, which end with the tests.
import { execFileSync } from "node:child_process";
import type { SpawnOptions } from "node:child_process";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createPool } from "mysql2/promise";
import pg from "pg";
import { mysqlBarrier } from "../../src/barrier/mysql2.js";
import { pgBarrier } from "../../src/barrier/pg.js";
import type { Barrier } from "../../src/barrier/index.js";
import { Running, freePort, until } from "./processes.js";

/** A pool, with the barrier over it. */
export interface Opened<Db = any> {
  readonly barrier: Barrier<Db>;
  /** Runs a statement, on a connection of a transaction or on any. `?` stands for a parameter. */
  sql(db: Db | undefined, statement: string, parameters?: unknown[]): Promise<Record<string, unknown>[]>;
  take(): Promise<Db>;
  giveBack(db: Db): void;
  end(): Promise<void>;
}

export interface Database {
  readonly kind: Kind;
  readonly port: number;
  end(): Promise<void>;
}

export type Kind = "PostgreSQL" | "MariaDB";
export const KINDS: readonly Kind[] = ["PostgreSQL", "MariaDB"];

/** Starts a server. Throws an error with the package to install if there is none. */
export function start(kind: Kind): Promise<Database> {
  switch (kind) {
    case "PostgreSQL":
      return startPostgres();
    case "MariaDB":
      return startMariaDb();
  }
}

/** Opens a pool. It may be done in another process than the one that started the server. */
export function open(kind: Kind, port: number, connections = 10): Opened {
  return kind === "PostgreSQL" ? openPostgres(port, connections) : openMariaDb(port, connections);
}

function openPostgres(port: number, max: number): Opened<pg.PoolClient> {
  const pool = new pg.Pool({ host: "127.0.0.1", port, user: "postgres", database: "postgres", max });
  // A server that ends cuts idle connections.
  pool.on("error", () => {});
  const numbered = (statement: string) => {
    let number = 0;
    return statement.replace(/\?/g, () => `$${++number}`);
  };
  return {
    barrier: pgBarrier(pool),
    sql: async (db, statement, parameters = []) =>
      (await (db ?? pool).query<Record<string, unknown>>(numbered(statement), parameters)).rows,
    take: () => pool.connect(),
    giveBack: (db) => db.release(),
    end: () => pool.end(),
  };
}

function openMariaDb(port: number, connectionLimit: number): Opened {
  const pool = createPool({ host: "127.0.0.1", port, user: "root", database: "test", connectionLimit });
  return {
    barrier: mysqlBarrier(pool),
    sql: async (db, statement, parameters = []) => {
      const [rows] = await (db ?? pool).query(statement, parameters);
      return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
    },
    take: () => pool.getConnection(),
    giveBack: (db) => db.release(),
    end: () => pool.end(),
  };
}

async function startPostgres(): Promise<Database> {
  const base = "/usr/lib/postgresql";
  const versions = existsSync(base)
    ? readdirSync(base)
        .map(Number)
        .filter((version) => existsSync(`${base}/${version}/bin/initdb`))
    : [];
  if (versions.length === 0) throw new Error("PostgreSQL is not installed: apt-get install postgresql");
  const programs = `${base}/${Math.max(...versions)}/bin`;
  const { folder, options } = place();
  const data = join(folder, "data");
  execFileSync(
    join(programs, "initdb"),
    ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", data],
    { ...options, stdio: "ignore" },
  );
  const port = await freePort();
  // Nobody kills the server, so nothing has to be on disk.
  const settings = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: folder,
    max_connections: 200,
    shared_buffers: "16MB",
    fsync: "off",
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const server = new Running(join(programs, "postgres"), ["-D", data, ...args], options);
  // SIGQUIT ends it at once, and all of its processes.
  return started("PostgreSQL", port, folder, server, () => server.end("SIGQUIT"));
}

async function startMariaDb(): Promise<Database> {
  const [server, install] = [
    program("mariadbd", "mariadb-server-core"),
    program("mariadb-install-db", "mariadb-server-core"),
  ];
  const { folder, options } = place();
  const all = ["--no-defaults", `--datadir=${join(folder, "data")}`, `--tmpdir=${folder}`, "--skip-name-resolve"];
  execFileSync(install, [...all, "--auth-root-authentication-method=normal"], { ...options, stdio: "ignore" });
  const port = await freePort();
  const more = [
    `--socket=${join(folder, "socket")}`,
    `--pid-file=${join(folder, "pid")}`,
    `--port=${port}`,
    "--bind-address=127.0.0.1",
  ];
  const running = new Running(
    server,
    [...all, ...more, "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--max-connections=200"],
    options,
  );
  return started("MariaDB", port, folder, running, () => running.end());
}

async function started(
  kind: Kind,
  port: number,
  folder: string,
  server: Running,
  stop: () => Promise<void>,
): Promise<Database> {
  const answers = async () => {
    if (!server.isRunning) throw new Error(`${kind} ended while it started:\n${server.log}`);
    const opened = open(kind, port, 1);
    const isThere = await opened.sql(undefined, "SELECT 1").then(
      () => true,
      () => false,
    );
    await opened.end().catch(() => {});
    return isThere;
  };
  await until(`${kind} answers`, answers, 60_000, () => server.log);
  const end = async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { kind, port, end };
}

/** Returns a folder that the servers' user may enter: root's servers run as `nobody`, because PostgreSQL refuses root. */
function place(): { folder: string; options: SpawnOptions } {
  const folder = mkdtempSync(join(tmpdir(), "undoubt-ts-db-"));
  mkdirSync(join(folder, "home"));
  const options: SpawnOptions = { cwd: folder, env: { PATH: process.env.PATH, HOME: join(folder, "home") } };
  if (process.getuid?.() !== 0) return { folder, options };
  const id = (flag: string) => Number(execFileSync("id", [flag, "nobody"]).toString());
  const [uid, gid] = [id("-u"), id("-g")];
  for (const path of [folder, join(folder, "home")]) chownSync(path, uid, gid);
  return { folder, options: { ...options, uid, gid } };
}

function program(name: string, packageName: string): string {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin"];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`${name} is not installed: apt-get install ${packageName}`);
  return found;
}
