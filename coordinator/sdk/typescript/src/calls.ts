import { ending, read } from "./answers.js";
import type { Answer } from "./answers.js";
import { milliseconds } from "./duration.js";
import { pause, sleep } from "./pause.js";
import type { Request } from "./requests.js";
import type { Duration } from "./types.js";

/** The way to a gateway. */
export interface ClientOptions {
  /** The token that says who asks, or what returns it anew for each request. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** The time for which a call is repeated until it has a clear answer, beyond what the gateway is to wait; else 30 s. */
  timeout?: Duration | undefined;
  /** What sends requests, in place of the platform's own `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Headers of every request, such as `traceparent`. */
  headers?: Readonly<Record<string, string>> | undefined;
}

/** The options of one call. */
export interface CallOptions {
  /** Ends the call with the signal's reason. Whether it was done is not known then. */
  signal?: AbortSignal | undefined;
  /** Overrules the client's. */
  timeout?: Duration | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** The time that one attempt may take beyond what the gateway waits; then it is made again. */
const ATTEMPT_TIMEOUT_MS = 15_000;
/** Codes of system errors after which nothing can have been sent. */
const NOT_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Makes requests, and repeats them until their answers are clear. */
export class Calls {
  readonly timeout: number;
  readonly #base: string;
  readonly #options: ClientOptions;
  readonly #fetch: typeof fetch;

  constructor(url: string | URL, options: ClientOptions) {
    const { origin, pathname } = new URL(url);
    this.#base = origin + pathname.replace(/\/+$/, "");
    this.#options = options;
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.timeout = milliseconds(options.timeout ?? DEFAULT_TIMEOUT_MS);
  }

  /** Returns the result of a request. */
  async ask<Result>(request: Request, { signal, timeout }: CallOptions = {}): Promise<Result> {
    const limit = timeout === undefined ? this.timeout : milliseconds(timeout);
    const begun = Date.now();
    // The time that the gateway was given to wait is not held against it, as far as it took it.
    let waited = 0;
    const left = () => Math.max(begun + limit + waited - Date.now(), 0);
    let isUnclear = false;
    for (let repetition = 0; ; repetition++) {
      const asked = Date.now();
      const answer = await this.#attempt(
        request,
        Math.min(left(), ATTEMPT_TIMEOUT_MS) + request.waits - waited,
        signal,
      );
      waited = Math.min(waited + Date.now() - asked, request.waits);
      const verdict = read(request, answer);
      if (verdict.is === "result") return verdict.result as Result;
      const { error, repeatable, unclear, after } = verdict;
      if (!repeatable && !unclear) throw error;
      isUnclear ||= unclear;
      const next = Math.max(after ?? 0, pause(repetition));
      if (!repeatable || next >= left()) throw ending(request, error, isUnclear);
      await sleep(next, signal);
    }
  }

  /** Opens a stream of which the answer's head has to come within `limit` milliseconds; its body may take for ever. */
  async open(request: Request, limit: number, signal: AbortSignal): Promise<Response | Answer> {
    const head = new AbortController();
    const stop = () => head.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const timer = setTimeout(() => head.abort(new Error(`no answer within ${limit} ms`)), limit);
    try {
      signal.throwIfAborted();
      const response = await this.#send(request, head.signal);
      return response.ok ? response : await answered(response);
    } catch (cause) {
      signal.throwIfAborted();
      return unanswered(cause);
    } finally {
      clearTimeout(timer);
    }
  }

  async #attempt(request: Request, limit: number, signal: AbortSignal | undefined): Promise<Answer> {
    signal?.throwIfAborted();
    const limited = AbortSignal.timeout(Math.ceil(limit));
    try {
      return await answered(
        await this.#send(request, signal === undefined ? limited : AbortSignal.any([signal, limited])),
      );
    } catch (cause) {
      signal?.throwIfAborted();
      return unanswered(cause);
    }
  }

  async #send(request: Request, signal: AbortSignal): Promise<Response> {
    const { token } = this.#options;
    const headers: Record<string, string> = { ...this.#options.headers, ...request.headers };
    const shown = typeof token === "function" ? await token() : token;
    if (shown !== undefined) headers.authorization = `Bearer ${shown}`;
    const url = this.#base + request.path + search(request.query);
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    return this.#fetch(url, { method: request.method, headers, body, redirect: "manual", signal });
  }
}

function search(query: Readonly<Record<string, string>>): string {
  for (const _ in query) return `?${new URLSearchParams(query).toString()}`;
  return "";
}

async function answered(response: Response): Promise<Answer> {
  const text = await response.text();
  return { is: "answer", status: response.status, retryAfter: response.headers.get("retry-after"), text };
}

function unanswered(cause: unknown): Answer {
  return { is: wasNotSent(cause) ? "refused" : "cut", cause };
}

/** Returns true if an error of `fetch` says that nothing was sent. Browsers do not tell, so there it is never known. */
function wasNotSent(error: unknown): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth++) {
    if ("code" in cause && typeof cause.code === "string" && NOT_SENT.has(cause.code)) return true;
  }
  return false;
}
