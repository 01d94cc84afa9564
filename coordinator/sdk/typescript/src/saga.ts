import type { CallOptions, Calls } from "./calls.js";
import { milliseconds } from "./duration.js";
import { Aborted, Committed, Damaged, OutcomeUnknown, Refused, Stuck, UndoubtError } from "./errors.js";
import { OpenSaga } from "./open-saga.js";
import { pause, sleep } from "./pause.js";
import * as requests from "./requests.js";
import type { Request, Traced } from "./requests.js";
import type { Duration, Opening, Outcome, Transaction } from "./types.js";

/** Code that runs as a saga. `signal` is the one that was given, or else is never aborted. */
export type Block<Result> = (saga: Saga, signal: AbortSignal) => Promise<Result>;

export interface SagaOptions extends Opening, Traced, CallOptions {
  /** The time for which its end is waited for once it is closed; else the client's `timeout`. */
  wait?: Duration | undefined;
}

/** How a block wants its saga to end. */
export type Wanted = "committed" | "aborted";

/** What has to be known of how a saga ended. */
export type Known = Outcome & Pick<Transaction, "heuristic_damage">;

/** The longest time for which one question waits for an end; then it is asked again. */
const LONGEST_QUESTION_MS = 20_000;
/** The time that turning back gets when the caller has aborted. */
const IN_A_HURRY_MS = 5_000;
/** The time that the question how it ended gets beyond all other. */
const LAST_QUESTION_MS = 1_000;

/** Returns the error with which a block ends, if the saga did not end as it wanted. Pure. */
export function unlike(wanted: Wanted, known: Known): UndoubtError | undefined {
  if (known.heuristic_damage) return new Damaged(known);
  switch (known.state) {
    case "pending": {
      if (known.stuck !== null) return new Stuck(known, known.stuck);
      const way = wanted === "committed" ? "closed, and its steps are being completed" : "being turned back";
      return new OutcomeUnknown({
        code: "NOT_DECIDED_YET",
        detail: `it is ${way}: ask again`,
        retryable: true,
        tx: known.tx,
      });
    }
    case "committed":
    case "closed":
      return wanted === "committed" ? undefined : new Committed(known);
    case "aborted":
      return wanted === "aborted" ? undefined : new Aborted(known, known.abort);
  }
}

/** The saga of a block. */
export class Saga extends OpenSaga {
  /** Where it was to be turned back and is not known to be: what stood against that. Its time limit may turn it back yet. */
  problem: UndoubtError | undefined;
  /** How its block wants it to end. */
  wanted: Wanted = "committed";

  /** Turns it back: all is undone, and the block may return what it likes. */
  override cancel(options?: CallOptions): Promise<Outcome> {
    this.wanted = "aborted";
    return super.cancel(options);
  }
}

/** Begins a saga, runs a block, and ends the saga as the block ended. */
export async function carryOut<Result>(
  calls: Calls,
  id: string,
  block: Block<Result>,
  options: SagaOptions,
): Promise<Result> {
  const {
    signal = new AbortController().signal,
    timeout,
    wait = timeout ?? calls.timeout,
    traceparent,
    tracestate,
    ...opening
  } = options;
  signal.throwIfAborted();
  const saga = new Saga(calls, id, signal);
  const back = () => turnBack(calls, saga, signal.aborted, timeout);
  try {
    await calls.ask(requests.begin(id, opening, { traceparent, tracestate }), { signal, timeout });
  } catch (error) {
    // What nobody waits for any more may have been begun.
    if (signal.aborted) await back();
    throw error;
  }
  let result: Result;
  try {
    signal.throwIfAborted();
    result = await unlessAborted(signal, block(saga, signal));
  } catch (error) {
    await back();
    throw error;
  }
  const limit = milliseconds(wait);
  const end =
    saga.wanted === "aborted"
      ? requests.cancel(id)
      : requests.close(id, { wait: Math.min(limit, LONGEST_QUESTION_MS) });
  let known: Known;
  try {
    known = await settle(calls, end, limit, { signal, timeout });
  } catch (error) {
    // It is as open as before: a step may be in effect or not. Or the caller waits no more.
    if (signal.aborted || error instanceof Refused) await back();
    throw error;
  }
  const error = unlike(saga.wanted, known);
  if (error !== undefined) throw error;
  return result;
}

/** Turns a saga back, and waits until that is done. Notes in the saga what stands against it. */
async function turnBack(calls: Calls, saga: Saga, inAHurry: boolean, timeout: Duration | undefined): Promise<void> {
  const patience = milliseconds(timeout ?? calls.timeout);
  const limit = inAHurry ? Math.min(patience, IN_A_HURRY_MS) : patience;
  try {
    saga.problem = unlike("aborted", await settle(calls, requests.cancel(saga.id), limit, { timeout: limit }));
  } catch (error) {
    if (!(error instanceof UndoubtError)) throw error;
    saga.problem = error;
  }
}

/** Makes the request that ends a saga, and waits for so many milliseconds until it has ended or is stuck. */
async function settle(calls: Calls, end: Request, limit: number, options: CallOptions): Promise<Known> {
  const id = end.tx ?? "";
  const until = Date.now() + limit;
  await calls.ask(end, options).catch((error: unknown) => {
    // How it ended is asked for below.
    if (!(error instanceof Refused && error.code === "TOO_LATE")) throw error;
  });
  for (let asked = 0; ; asked++) {
    const left = Math.max(until - Date.now(), 0);
    const question = requests.get(id, { wait: Math.min(left, LONGEST_QUESTION_MS) });
    const known = await calls.ask<Known>(question, { ...options, timeout: left + LAST_QUESTION_MS });
    if (known.state !== "pending" || known.stuck !== null || left <= LONGEST_QUESTION_MS) return known;
    await sleep(pause(asked), options.signal);
  }
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
