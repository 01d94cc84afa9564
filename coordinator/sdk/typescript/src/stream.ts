import { read } from "./answers.js";
import type { Answer } from "./answers.js";
import type { CallOptions, Calls } from "./calls.js";
import { milliseconds } from "./duration.js";
import { Unreachable, UndoubtError } from "./errors.js";
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
  let cursor = after;
  let until = Date.now() + patience;
  for (let repetition = 0; ; repetition++) {
    const stream = new AbortController();
    const stop = () => stream.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", stop, { once: true });
    let cut: Cut;
    try {
      const opened = await calls.open(request(cursor), Math.max(until - Date.now(), 1), stream.signal);
      if (opened instanceof Response) {
        for await (const { event, data, id } of pieces(opened, stream)) {
          if (event === "end") return;
          if (event === "failed") break;
          repetition = 0;
          cursor = id ?? cursor;
          yield JSON.parse(data) as WatchLine;
        }
        // However long it was open: it is cut only now.
        until = Date.now() + patience;
        cut = interrupted(request(cursor));
      } else {
        cut = unopened(request(cursor), opened);
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      stream.abort();
    }
    signal?.throwIfAborted();
    const next = Math.max(cut.after ?? 0, pause(repetition));
    if (Date.now() + next >= until) throw cut.error;
    await sleep(next, signal);
  }
}

/** Why a stream is to be opened again, and the milliseconds after which, if that is said. */
interface Cut {
  readonly error: UndoubtError;
  readonly after: number | undefined;
}

function interrupted({ tx }: Request): Cut {
  const detail = "the stream of events was cut, and could not be opened again in time";
  return { error: new Unreachable({ code: "UNREACHABLE", detail, retryable: true, tx }), after: undefined };
}

/** Returns why a stream is not open, or throws that if another try will not change it. */
function unopened(request: Request, answer: Answer): Cut {
  const verdict = read(request, answer);
  if (verdict.is === "result") throw new TypeError("the answer is no stream of events");
  if (!verdict.repeatable) throw verdict.error;
  return verdict;
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
