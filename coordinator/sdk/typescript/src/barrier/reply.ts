import { EMPTY, problem } from "./decide.js";
import type { Answer } from "./decide.js";

/** Thrown by a handler that refuses: its changes are rolled back, and the answer is 409, for good. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** Thrown by a handler that is not ready: its changes are rolled back, and it is asked again after a second. */
export class InProgress extends Error {
  override readonly name = "InProgress";
}

/** An answer of a handler's own. A body that is no text and no bytes is sent as JSON. */
export class Reply {
  readonly status: number;
  readonly body: unknown;
  readonly type: string | undefined;

  constructor(status: number, body?: unknown, type?: string) {
    this.status = status;
    this.body = body;
    this.type = type;
  }
}

/** Returns the answer that stands for what a handler returned. */
export function answerOf(result: unknown): Answer {
  const { status, body, type } = result instanceof Reply ? result : new Reply(200, result);
  if (body === undefined || body === null) return { ...EMPTY, status };
  if (body instanceof Uint8Array) return { status, type: type ?? "application/octet-stream", body };
  if (result instanceof Reply && typeof body === "string")
    return { status, type: type ?? "text/plain; charset=utf-8", body: bytes(body) };
  return { status, type: type ?? "application/json", body: bytes(JSON.stringify(body)) };
}

/**
 * Returns the answer that stands for what a handler threw, or `undefined` if it failed. An error that says of itself that its status of 4xx
 * is meant for the caller, as those of `http-errors` do (`expose`), is an answer of that status.
 */
export function answerOfThrown(error: unknown): Answer | undefined {
  if (error instanceof Refusal) return problem(409, "REFUSED", error.message);
  if (error instanceof InProgress) return problem(425, "IN_PROGRESS", error.message);
  const status = clientErrorOf(error);
  return status !== undefined && (error as { expose?: unknown }).expose === true
    ? problem(status, "REFUSED", (error as Error).message)
    : undefined;
}

/**
 * Returns what is thrown in place of an error of a handler. Web frameworks answer with the status of an error; that of a call that the
 * handler made to somebody else would be taken for a refusal.
 */
export function failureOf(error: unknown): unknown {
  return clientErrorOf(error) === undefined ? error : new Error("a handler failed", { cause: error });
}

function clientErrorOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { status, statusCode = status } = error as { status?: unknown; statusCode?: unknown };
  return typeof statusCode === "number" && statusCode >= 400 && statusCode < 500 ? statusCode : undefined;
}

const bytes = (text: string) => new TextEncoder().encode(text);
