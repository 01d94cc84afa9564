import { read } from "./answers.js";
import type { CallOptions, Calls } from "./calls.js";
import { milliseconds } from "./duration.js";
import { OutcomeUnknown, UndoubtError } from "./errors.js";
import { EventReader } from "./event-reader.js";
import type { Piece } from "./event-reader.js";
import { pause, sleep } from "./pause.js";
import type { Request } from "./requests.js";
import type { WatchLine } from "./types.js";

/** A stream that says nothing for so long is dead: the gateway gives a sign of life every 15 s. */
const SILENCE_MS = 45_000;

/**
 * Tells the events of a stream, and goes on behind the last one where it is cut. `timeout`: the time for which it may be cut before that
 * is an error. Ends where the gateway says that there is no more.
 */
export async function* follow(
  calls: Calls,
  request: (after: string | undefined) => Request,
  after: string | undefined,
  { signal, timeout }: CallOptions,
): AsyncGenerator<WatchLine, void, void> {
  const patience = timeout === undefined ? calls.timeout : milliseconds(timeout);
  let [cursor, repetition, until] = [after, 0, Date.now() + patience];
  for (;;) {
    const stream = new AbortController();
    const stop = () => stream.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", stop, { once: true });
    let failure: UndoubtError;
    let wait: number | undefined;
    try {
      const opened = await calls.open(request(cursor), Math.max(until - Date.now(), 1), stream.signal);
      if (opened instanceof Response) {
        for await (const piece of pieces(opened, stream)) {
          [repetition, until] = [0, Date.now() + patience];
          if (piece.event === "end") return;
          if (piece.event === "failed") break;
          const line = JSON.parse(piece.data) as WatchLine;
          cursor = piece.id ?? cursor;
          yield line;
        }
        failure = new OutcomeUnknown({
          code: "INTERRUPTED",
          detail: "the stream of events was cut",
          retryable: true,
          tx: request(cursor).tx,
        });
      } else {
        const verdict = read(request(cursor), opened);
        if (verdict.is === "result" || !verdict.repeatable)
          throw verdict.is === "error" ? verdict.error : new TypeError("no stream");
        failure = verdict.error;
        wait = verdict.after;
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      stream.abort();
    }
    signal?.throwIfAborted();
    const next = Math.max(wait ?? 0, pause(repetition++));
    if (Date.now() + next >= until) throw failure;
    await sleep(next, signal);
  }
}

/** Tells the pieces of a stream until it ends or is cut. */
async function* pieces(response: Response, stream: AbortController): AsyncGenerator<Piece, void, void> {
  const body = response.body?.getReader();
  if (body === undefined) return;
  const reader = new EventReader();
  const decoder = new TextDecoder();
  for (;;) {
    const timer = setTimeout(() => stream.abort(new Error(`nothing came for ${SILENCE_MS} ms`)), SILENCE_MS);
    let chunk;
    try {
      chunk = await body.read();
    } catch {
      // It was cut; whoever aborted is told by the signal.
      return;
    } finally {
      clearTimeout(timer);
    }
    if (chunk.done) return;
    yield* reader.push(decoder.decode(chunk.value, { stream: true }));
  }
}
