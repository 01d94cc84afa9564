import type { CallOptions, Calls } from "./calls.js";
import { milliseconds } from "./duration.js";
import { Aborted, Committed, Damaged, OutcomeUnknown, Refused, Stuck, UndoubtError } from "./errors.js";
import { OpenSaga } from "./open-saga.js";
import { pause, sleep } from "./pause.js";
import * as requests from "./requests.js";
import type { Request, Traced } from "./requests.js";
import type { Duration, Opening, Outcome, Transaction } from "./types.js";

/** Code that runs as a saga. `signal` is the one that was given, or else is never aborted. */
export type Block<Result> = (saga: OpenSaga, signal: AbortSignal) => Promise<Result>;

export interface SagaOptions extends Opening, Traced, CallOptions {
  /** The time for which its end is waited for once it is closed; else the client's `timeout`. */
  wait?: Duration | undefined;
}

/** How a block wants its saga to end. */
export type Wanted = "committed" | "aborted";

/** What is known of a saga: `heuristic_damage` is, once it was asked for. */
export type Known = Outcome & Partial<Pick<Transaction, "heuristic_damage">>;

const LONGEST_WAIT_MS = 60_000;

/** Returns the error with which a block ends, if the saga did not end as it wanted. Pure. */
export function unlike(wanted: Wanted, known: Known): UndoubtError | undefined {
  if (known.heuristic_damage === true) return new Damaged(known);
  switch (known.state) {
    case "pending": {
      if (known.stuck !== null) return new Stuck(known, known.stuck);
      const way = wanted === "committed" ? "closed, and its steps are being completed" : "being turned back";
      return new OutcomeUnknown({ code: "NOT_DECIDED_YET", detail: `it is ${way}: ask again`, retryable: true, tx: known.tx });
    }
    case "committed":
    case "closed":
      return wanted === "committed" ? undefined : new Committed(known);
    case "aborted":
      return wanted === "aborted" ? undefined : new Aborted(known, known.abort);
  }
}

/** Begins a saga, runs a block, and ends the saga as the block ended. */
export async function carryOut<Result>(calls: Calls, id: string, block: Block<Result>, options: SagaOptions): Promise<Result> {
  const { signal = new AbortController().signal, timeout, wait = timeout ?? calls.timeout, traceparent, tracestate, ...opening } = options;
  const saga = new BlockSaga(calls, id, signal);
  let result: Result;
  try {
    await calls.ask(requests.begin(id, opening, { traceparent, tracestate }), { signal, timeout });
    saga.isBegun = true;
    result = await unlessAborted(signal, block(saga, signal));
  } catch (error) {
    if (signal.aborted || saga.isBegun) await turnBack(calls, id, error, signal, timeout);
    throw error;
  }
  const end = saga.wanted === "committed" ? (wait: number) => requests.close(id, { wait }) : () => requests.cancel(id);
  let known: Known;
  try {
    known = await settle(calls, id, end, milliseconds(wait), { signal, timeout });
  } catch (error) {
    // It is as open as before, or the caller waits no more.
    if (signal.aborted || isRefusal(error)) await turnBack(calls, id, error, signal, timeout);
    throw error;
  }
  const error = unlike(saga.wanted, known);
  if (error !== undefined) throw error;
  return result;
}

/** The saga of a block, which notes how the block wants it to end. */
class BlockSaga extends OpenSaga {
  wanted: Wanted = "committed";
  isBegun = false;

  override cancel(options?: CallOptions): Promise<Outcome> {
    this.wanted = "aborted";
    return super.cancel(options);
  }
}

/**
 * Turns a saga back because of an error, and waits until that is done. Throws where it is known to have ended otherwise, or nothing is
 * known; but not if the caller has aborted, who does not wait to hear that: the saga's time limit turns it back then.
 */
async function turnBack(calls: Calls, id: string, cause: unknown, signal: AbortSignal, timeout: Duration | undefined): Promise<void> {
  let error: UndoubtError | undefined;
  try {
    const limit = milliseconds(timeout ?? calls.timeout);
    error = unlike("aborted", await settle(calls, id, () => requests.cancel(id), limit, { timeout }));
  } catch (unsettled) {
    if (!(unsettled instanceof UndoubtError)) throw unsettled;
    error = unsettled;
  }
  if (error === undefined || signal.aborted) return;
  error.cause = cause;
  throw error;
}

/** Makes the request that ends a saga, and waits for so many milliseconds until it has ended or is stuck. */
async function settle(calls: Calls, id: string, end: (wait: number) => Request, limit: number, options: CallOptions): Promise<Known> {
  const until = Date.now() + limit;
  const left = () => Math.min(Math.max(until - Date.now(), 0), LONGEST_WAIT_MS);
  let known = await calls.ask<Known>(end(left()), options).catch((error: unknown) => {
    if (error instanceof Refused && error.code === "TOO_LATE") return calls.ask<Known>(requests.get(id), options);
    throw error;
  });
  for (let asked = 0; known.state === "pending" && known.stuck === null && left() > 0; asked++) {
    if (asked > 0) await sleep(Math.min(pause(asked), left()), options.signal);
    known = await calls.ask<Known>(requests.get(id, { wait: left() }), options);
  }
  return known;
}

/** Returns what a block returns, or rejects with the signal's reason as soon as that is aborted. */
async function unlessAborted<Result>(signal: AbortSignal, block: Promise<Result>): Promise<Result> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([block, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener("abort", stop);
    // Should the other one fail later, that was told, or is nobody's concern any more.
    aborted.catch(() => {});
    block.catch(() => {});
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof Refused;
}
