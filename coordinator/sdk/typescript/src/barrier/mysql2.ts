import type { Pool, PoolConnection, ResultSetHeader, RowDataPacket } from "mysql2/promise";
import { Barrier, ENDED } from "./barrier.js";
import type { Dialect } from "./barrier.js";
import { COLUMNS, rowOf } from "./columns.js";
import type { Columns } from "./columns.js";
import type { Answer, Part, Row } from "./decide.js";
import { MYSQL } from "./schema.js";

/** Error numbers that say: somebody else holds it. A deadlock, a lock that was waited for, one that was not, a row that has changed. */
const CONTENTION = new Set([1213, 1205, 3572, 1020]);
/** A row that is purged between its making and its locking is made again, so often. */
const MAX_MAKINGS = 5;
/** The flag of the protocol that says that a transaction is under way. */
const IN_TRANSACTION = 1;
const PURGED_AT_ONCE = 1_000;

/**
 * Locks a row, and waits for it for a bounded time: 5 s in MariaDB; in MySQL not at all, since it knows no bound but the session's. The
 * server also says which of the two it is.
 */
const LOCK =
  `SELECT ${COLUMNS}, /*M!100300 1 + */ 0 AS is_mariadb FROM undoubt_barrier WHERE effect = ?` +
  " FOR UPDATE /*!80001 NOWAIT */ /*M!100300 WAIT 5 */";

/** Makes a row. It waits for whoever has made the row and not committed, in MariaDB as long as `LOCK` does. */
const MAKE =
  "/*M!100300 SET STATEMENT innodb_lock_wait_timeout = 5 FOR */ INSERT IGNORE INTO undoubt_barrier (effect) VALUES (?)";

/** Returns a barrier over MariaDB or MySQL. Each call takes one connection of the pool. */
export function mysqlBarrier(pool: Pool): Barrier<PoolConnection> {
  return new Barrier(new MariaDb(pool));
}

class MariaDb implements Dialect<PoolConnection> {
  readonly #pool: Pool;
  #isMariaDb = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  take(): Promise<PoolConnection> {
    return this.#pool.getConnection();
  }

  giveBack(db: PoolConnection, broken: boolean): void {
    if (broken) db.destroy();
    else db.release();
  }

  /**
   * The row is made in a transaction of its own. Were it made in this one, and this one rolled back, those who wait for it would be given
   * locks on the gap that it leaves, all of them, and then wait for each other.
   */
  async lock(db: PoolConnection, effect: string): Promise<Row> {
    for (let makings = 0; makings < MAX_MAKINGS; makings++) {
      await this.#make(db, effect);
      await db.query("BEGIN");
      const [rows] = await db.query<(RowDataPacket & Columns & { is_mariadb: number })[]>(LOCK, [effect]);
      const [columns] = rows;
      if (columns !== undefined) {
        this.#isMariaDb = columns.is_mariadb === 1;
        return rowOf(columns);
      }
      await db.query("ROLLBACK");
    }
    throw new Error("the row of an effect was purged as often as it was made");
  }

  async keep(db: PoolConnection, effect: string, part: Part, { status, type, body }: Answer): Promise<void> {
    // A deadlock, a DDL or a handler may have ended the transaction. MariaDB can look within the statement.
    if (!this.#isMariaDb) await this.#checkTransaction(db);
    const [told] = await db.query<ResultSetHeader>(
      `UPDATE undoubt_barrier SET ${part}_status = ?, ${part}_type = ?, ${part}_body = ?
       WHERE effect = ? /*M!100300 AND @@in_transaction = 1 */`,
      [status, type, body === null ? null : Buffer.from(body), effect],
    );
    if (told.affectedRows !== 1) throw new Error(ENDED);
  }

  async commit(db: PoolConnection): Promise<void> {
    await db.query("COMMIT");
  }

  async rollback(db: PoolConnection): Promise<void> {
    await db.query("ROLLBACK");
  }

  async own(db: PoolConnection, effect: string): Promise<boolean> {
    const [told] = await db.query<ResultSetHeader>(
      "INSERT IGNORE INTO undoubt_barrier (effect, action_status) VALUES (?, 200)",
      [effect],
    );
    return told.affectedRows === 1;
  }

  isContention(error: unknown): boolean {
    return error instanceof Error && "errno" in error && CONTENTION.has(Number(error.errno));
  }

  async purge(age: number): Promise<number> {
    const [told] = await this.#pool.query<ResultSetHeader>(
      `DELETE FROM undoubt_barrier WHERE touched_at < now() - INTERVAL ? MICROSECOND LIMIT ${PURGED_AT_ONCE}`,
      [Math.round(age * 1_000)],
    );
    return told.affectedRows;
  }

  async createTable(): Promise<void> {
    await this.#pool.query(MYSQL);
  }

  /** Any server says whether a transaction is under way with the answer to whatever it is asked. */
  async #checkTransaction(db: PoolConnection): Promise<void> {
    const [told] = await db.query<ResultSetHeader>("DO 0");
    if ((told.serverStatus & IN_TRANSACTION) === 0) throw new Error(ENDED);
  }

  /** Makes a row, if it is absent, and commits it. Who looks first does not wait for one that is locked. */
  async #make(db: PoolConnection, effect: string): Promise<void> {
    const [rows] = await db.query<RowDataPacket[]>("SELECT 1 FROM undoubt_barrier WHERE effect = ?", [effect]);
    if (rows.length === 0) await db.query(MAKE, [effect]);
  }
}
