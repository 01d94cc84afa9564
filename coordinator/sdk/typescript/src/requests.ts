import { milliseconds, text } from "./duration.js";
import type { Duration, Filter, JoiningStep, Opening, Submission } from "./types.js";
import { pieces } from "./work.js";
import type { GivenWork } from "./work.js";

/** A request to the gateway. It may be repeated: each is the same to the gateway however often it comes. */
export interface Request {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** What is sent as JSON; absent: nothing. */
  readonly body?: unknown;
  /** The transaction that it is about. */
  readonly tx?: string | undefined;
  /** The time for which the gateway waits before it answers, in milliseconds. */
  readonly waits: number;
}

/** The time for which the gateway waits for an outcome where the request does not say. */
const DEFAULT_WAIT_MS = 30_000;

/** The time for which an outcome is waited for, up to `60s`. */
export interface Waiting {
  wait?: Duration | undefined;
}

/** The W3C trace context in which a transaction is recorded. */
export interface Traced {
  traceparent?: string | undefined;
  tracestate?: string | undefined;
}

/** A step that joins an open saga. */
export interface JoinedStep extends Omit<JoiningStep, "do" | "undo" | "complete"> {
  /** The work to be done now. If there is none, it is the caller's to do, after the step has joined. */
  do?: GivenWork;
  /** The work that undoes it if the saga is turned back. An action needs one. */
  undo?: GivenWork;
  /** The work that completes it once the saga is closed. */
  complete?: GivenWork;
}

type Pairs = Record<string, string>;

export function submit(
  document: Submission,
  terms: Waiting & Traced & { callback?: string | undefined } = {},
): Request {
  const query = { ...waiting(terms), ...given({ callback: terms.callback }) };
  const waits = milliseconds(terms.wait ?? DEFAULT_WAIT_MS);
  const tx = document.id ?? undefined;
  return {
    method: "POST",
    path: "/v1/transactions",
    query,
    headers: headers(document, terms),
    body: document,
    tx,
    waits,
  };
}

export function get(id: string, terms: Waiting = {}): Request {
  return about(id, "GET", "", { query: waiting(terms), waits: milliseconds(terms.wait ?? 0) });
}

export function list(filter: Filter = {}, after?: string): Request {
  const { limit, ...texts } = filter;
  const query = given({ ...texts, limit: limit === undefined ? undefined : String(limit), after });
  return { method: "GET", path: "/v1/transactions", query, headers: headers(), waits: 0 };
}

export function begin(id: string, opening: Opening = {}, trace: Traced = {}): Request {
  return about(id, "POST", "/begin", { body: opening, trace });
}

export function run(id: string, step: string, joined: JoinedStep): Request {
  return about(id, "POST", `/steps/${segment(step)}/run`, { body: joining(joined) });
}

export function join(id: string, step: string, joined: JoinedStep): Request {
  return about(id, "POST", `/steps/${segment(step)}/join`, { body: joining(joined) });
}

export function close(id: string, terms: Waiting = {}): Request {
  return about(id, "POST", "/close", { query: waiting(terms), waits: milliseconds(terms.wait ?? DEFAULT_WAIT_MS) });
}

export function cancel(id: string): Request {
  return about(id, "POST", "/cancel", {});
}

/** Returns the request for the events of a transaction. `after`: the cursor behind which they go on. */
export function watch(id: string, after?: string): Request {
  return about(id, "GET", "/events", { headers: streamed(after) });
}

/** Returns the request for the events of all transactions. */
export function events(after?: string, coordinator?: string): Request {
  return { method: "GET", path: "/v1/events", query: given({ coordinator }), headers: streamed(after), waits: 0 };
}

function about(
  id: string,
  method: "GET" | "POST",
  rest: string,
  parts: { query?: Pairs; waits?: number; body?: unknown; trace?: Traced; headers?: Pairs },
): Request {
  const { query = {}, waits = 0, body, trace } = parts;
  const path = `/v1/transactions/${segment(id)}${rest}`;
  return { method, path, query, headers: parts.headers ?? headers(body, trace), body, tx: id, waits };
}

function joining(joined: JoinedStep): JoiningStep {
  const step: Record<string, unknown> & { at: string } = { ...joined };
  for (const name of ["do", "undo", "complete"] as const) {
    const work = joined[name];
    if (work !== undefined) step[name] = pieces(work);
  }
  return step;
}

/** Returns a name as one part of a path. Dots alone would be taken for folders on the way; their bytes say the same. */
function segment(name: string): string {
  return /^\.\.?$/.test(name) ? `0x${"2e".repeat(name.length)}` : encodeURIComponent(name);
}

function headers(body?: unknown, { traceparent, tracestate }: Traced = {}): Pairs {
  const type = body === undefined ? undefined : "application/json";
  return given({ accept: "application/json", "content-type": type, traceparent, tracestate });
}

function streamed(after: string | undefined): Pairs {
  return given({ accept: "text/event-stream", "last-event-id": after });
}

function waiting({ wait }: Waiting): Pairs {
  return given({ wait: wait === undefined ? undefined : text(wait) });
}

/** Returns those that are there. */
function given(pairs: Readonly<Record<string, string | undefined>>): Pairs {
  const there: Pairs = {};
  for (const name in pairs) {
    const value = pairs[name];
    if (value !== undefined) there[name] = value;
  }
  return there;
}
