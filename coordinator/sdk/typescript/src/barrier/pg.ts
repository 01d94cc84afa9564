import type { Pool, PoolClient } from "pg";
import { Barrier, ENDED } from "./barrier.js";
import type { Dialect } from "./barrier.js";
import { COLUMNS, rowOf } from "./columns.js";
import type { Columns } from "./columns.js";
import type { Answer, Part, Row } from "./decide.js";
import { POSTGRESQL } from "./schema.js";

/** Error codes that say: somebody else holds it. */
const CONTENTION = new Set(["40001", "40P01", "55P03"]);
const LOCK_TIMEOUT = "5s";
const PURGED_AT_ONCE = 1_000;

/** Returns a barrier over PostgreSQL. Each call takes one connection of the pool. */
export function pgBarrier(pool: Pool): Barrier<PoolClient> {
  return new Barrier(new Postgres(pool));
}

class Postgres implements Dialect<PoolClient> {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  take(): Promise<PoolClient> {
    return this.#pool.connect();
  }

  giveBack(db: PoolClient, broken: boolean): void {
    db.release(broken);
  }

  async lock(db: PoolClient, effect: string): Promise<Row> {
    // It holds for what the handler locks, too: a call that waits longer is asked again anyway.
    await db.query(`BEGIN; SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
    // It waits for whoever has made the row and not committed, and then locks it. Everybody locks this one row alone.
    const { rows } = await db.query<Columns>(
      `INSERT INTO undoubt_barrier (effect) VALUES ($1) ON CONFLICT (effect) DO UPDATE SET touched_at = now() RETURNING ${COLUMNS}`,
      [effect],
    );
    const [columns] = rows;
    if (columns === undefined) throw new Error("the row of an effect was neither made nor found");
    return rowOf(columns);
  }

  async keep(db: PoolClient, effect: string, part: Part, { status, type, body }: Answer): Promise<void> {
    // The version of the row that this transaction has written: there is none where a handler has ended the transaction.
    const { rowCount } = await db.query(
      `UPDATE undoubt_barrier SET ${part}_status = $2, ${part}_type = $3, ${part}_body = $4, touched_at = now()
       WHERE effect = $1 AND xmin = pg_current_xact_id()::xid`,
      [effect, status, type, body === null ? null : Buffer.from(body)],
    );
    if (rowCount !== 1) throw new Error(ENDED);
  }

  async commit(db: PoolClient): Promise<void> {
    await db.query("COMMIT");
  }

  async rollback(db: PoolClient): Promise<void> {
    await db.query("ROLLBACK");
  }

  async own(db: PoolClient, effect: string): Promise<boolean> {
    const { rowCount } = await db.query(
      "INSERT INTO undoubt_barrier (effect, action_status) VALUES ($1, 200) ON CONFLICT DO NOTHING",
      [effect],
    );
    return rowCount === 1;
  }

  isContention(error: unknown): boolean {
    return error instanceof Error && "code" in error && CONTENTION.has(String(error.code));
  }

  async purge(age: number): Promise<number> {
    const { rowCount } = await this.#pool.query(
      `DELETE FROM undoubt_barrier WHERE effect IN
         (SELECT effect FROM undoubt_barrier WHERE touched_at < now() - $1 * interval '1 millisecond' LIMIT ${PURGED_AT_ONCE} FOR UPDATE SKIP LOCKED)`,
      [age],
    );
    return rowCount ?? 0;
  }

  async createTable(): Promise<void> {
    // Of two who make it at once, one is told that it is there all the same, by some constraint of the catalogue.
    await this.#pool.query(POSTGRESQL).catch(() => this.#pool.query(POSTGRESQL));
  }
}
