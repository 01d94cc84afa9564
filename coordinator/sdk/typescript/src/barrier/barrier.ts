import { ownEffect, readCall } from "./call.js";
import type { Call, GivenHeaders } from "./call.js";
import { decide, partOf, problem, settle } from "./decide.js";
import type { Answer, Part, Row } from "./decide.js";
import { milliseconds } from "../duration.js";
import type { Duration } from "../types.js";
import { answerOf, answerOfThrown, failureOf } from "./reply.js";

/** What a kind of database does for a barrier. */
export interface Dialect<Db> {
  take(): Promise<Db>;
  /** Hands a connection back; one that is `broken` is closed. */
  giveBack(db: Db, broken: boolean): void;
  /** Begins a transaction, and locks the row of an effect, which is made if it is absent. Waits for the lock for a bounded time. */
  lock(db: Db, effect: string): Promise<Row>;
  /** Keeps an answer in the row that is locked. Fails, and keeps nothing, if the transaction has ended in which it was locked. */
  keep(db: Db, effect: string, part: Part, answer: Answer): Promise<void>;
  commit(db: Db): Promise<void>;
  rollback(db: Db): Promise<void>;
  /** Writes the row of a service's own transaction, within that. Returns false if it is there. */
  own(db: Db, effect: string): Promise<boolean>;
  /** Returns true of an error that says: somebody else holds it, try again. Nothing is committed then. */
  isContention(error: unknown): boolean;
  /** Deletes rows that were last touched so many milliseconds ago, and no more than some thousand. Returns how many it deleted. */
  purge(age: number): Promise<number>;
  createTable(): Promise<void>;
}

/** What does the work of a call, within the transaction that holds its row. Returns a result, which is sent as JSON, or a `Reply`. */
export type Work<Db> = (db: Db, call: Call) => unknown;

export interface OnceOptions {
  /** Runs a compensation also where no action was heard of: for steps that join without one (`join`). */
  always?: boolean | undefined;
}

/** A service's own transaction must not commit: it was done before, or a check-back was answered that it failed. */
export class NotRecorded extends Error {
  override readonly name = "NotRecorded";
}

const PURGE_AFTER = "7d";

/** Why an answer cannot be kept. */
export const ENDED =
  "the transaction of the handler has ended before it: a handler must neither commit, nor roll back, nor go on after a deadlock";

/**
 * Lets each call of a participant be done once: keeps its answer in a row of its effect, in the very transaction in which its handler works.
 * See the table in `vectors/README.md` for what is answered when.
 */
export class Barrier<Db> {
  readonly #dialect: Dialect<Db>;

  constructor(dialect: Dialect<Db>) {
    this.#dialect = dialect;
  }

  /**
   * Returns the answer to a call: the one that it got before, or the one that `work` gives. Throws what `work` throws if that is no
   * refusal, and what the database throws: then nothing is kept, and the answer has to be 500.
   */
  async once(headers: GivenHeaders, work: Work<Db>, { always = false }: OnceOptions = {}): Promise<Answer> {
    const call = readCall(headers);
    if ("status" in call) return call;
    const db = await this.#dialect.take();
    let broken = true;
    try {
      const answer = await this.#within(db, call, work, always);
      broken = false;
      return answer;
    } catch (error) {
      if (!(error instanceof Uncommitted)) throw error;
      broken = await this.#rollback(db);
      if (error.answer !== undefined) return error.answer;
      throw error.cause;
    } finally {
      this.#dialect.giveBack(db, broken);
    }
  }

  /** Has a service's own transaction on `db` be the one that a check-back asks for. Throws `NotRecorded` if it must not commit. */
  async own(db: Db, transaction: string): Promise<void> {
    if (await this.#dialect.own(db, ownEffect(transaction))) return;
    throw new NotRecorded(
      `the own transaction of ${transaction} was recorded before, or was answered for as failed: roll it back`,
    );
  }

  /** Deletes rows that were last touched before so long; else a week. Returns how many. */
  async purge(olderThan: Duration = PURGE_AFTER): Promise<number> {
    let purged = 0;
    for (;;) {
      const some = await this.#dialect.purge(milliseconds(olderThan));
      purged += some;
      if (some === 0) return purged;
    }
  }

  /** Makes the table, if it is absent. */
  createTable(): Promise<void> {
    return this.#dialect.createTable();
  }

  async #within(db: Db, call: Call, work: Work<Db>, always: boolean): Promise<Answer> {
    const { operation, effect } = call;
    const { answer, keep } = await this.#uncommitted(async () => {
      const decided = await this.#decided(db, call, always);
      if (decided !== undefined) return decided;
      const worked = settle(operation, await answered(db, call, work));
      if (worked.commit) return worked;
      if (!worked.keep) throw new Uncommitted(worked.answer, undefined);
      // The changes go and the refusal stays. Where another call was faster meanwhile, its answer counts.
      await this.#dialect.rollback(db);
      return (await this.#decided(db, call, always)) ?? worked;
    });
    if (keep) await this.#uncommitted(() => this.#dialect.keep(db, effect, partOf(operation), answer));
    // Whether a commit that fails has happened is not known.
    await this.#dialect.commit(db);
    return answer;
  }

  /** Locks the row of an effect. Returns the answer that it gives, or `undefined` if the handler is to run. */
  async #decided(
    db: Db,
    { effect, operation }: Call,
    always: boolean,
  ): Promise<{ answer: Answer; keep: boolean } | undefined> {
    const decision = decide(await this.#dialect.lock(db, effect), operation, always);
    return decision.is === "answer" ? decision : undefined;
  }

  /** Does what comes before the commit: whatever fails, nothing has happened. */
  async #uncommitted<Result>(doing: () => Promise<Result>): Promise<Result> {
    try {
      return await doing();
    } catch (error) {
      if (error instanceof Uncommitted) throw error;
      const isContended = this.#dialect.isContention(error);
      const detail = "somebody else is at work on this, or on what it needs; nothing was done";
      throw new Uncommitted(isContended ? problem(425, "IN_PROGRESS", detail) : undefined, error);
    }
  }

  /** Returns true if the connection is of no use any more. */
  async #rollback(db: Db): Promise<boolean> {
    try {
      await this.#dialect.rollback(db);
      return false;
    } catch {
      return true;
    }
  }
}

/** Nothing is to be committed. `answer`: what is answered; else `cause` is thrown. */
class Uncommitted extends Error {
  readonly answer: Answer | undefined;

  constructor(answer: Answer | undefined, cause: unknown) {
    super("nothing was committed", { cause });
    this.answer = answer;
  }
}

async function answered<Db>(db: Db, call: Call, work: Work<Db>): Promise<Answer> {
  try {
    return answerOf(await work(db, call));
  } catch (error) {
    const answer = answerOfThrown(error);
    if (answer !== undefined) return answer;
    throw failureOf(error);
  }
}
