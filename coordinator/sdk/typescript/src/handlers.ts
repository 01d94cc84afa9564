import { problem } from "./barrier/decide.js";
import type { Answer, Operation } from "./barrier/decide.js";
import type { Barrier, OnceOptions } from "./barrier/barrier.js";
import { readCall } from "./barrier/call.js";
import type { Call, GivenHeaders } from "./barrier/call.js";

/** What a service does when it is asked for an operation. `db`: the connection whose transaction holds the row of the effect. */
export type Handler<Db, Request> = (db: Db, request: Request, call: Call) => unknown;

/** The handlers of an effect, by operation. A check-back needs none: the barrier answers it. */
export type Handlers<Db, Request> = { readonly [operation in Exclude<Operation, "check-back">]?: Handler<Db, Request> };

/** Returns the answer to a request by the handler of its operation. */
export function answer<Db, Request extends { headers: GivenHeaders }>(
  barrier: Barrier<Db>,
  handlers: Handlers<Db, Request>,
  request: Request,
  options: OnceOptions,
): Promise<Answer> {
  const call = readCall(request.headers);
  const operation = "status" in call ? undefined : call.operation;
  if (operation === undefined || operation === "check-back")
    return barrier.once(request.headers, () => undefined, options);
  const handler = handlers[operation];
  if (handler !== undefined) return barrier.once(request.headers, (db, call) => handler(db, request, call), options);
  return Promise.resolve(
    problem(400, "UNKNOWN_OPERATION", `${operation} is nothing that is done here: it has no handler`),
  );
}

/** Returns the headers of an answer. */
export function headersOf({ type, body, retryAfter }: Answer): Record<string, string> {
  return {
    ...(type === null ? {} : { "content-type": type }),
    "content-length": String(body?.byteLength ?? 0),
    ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
  };
}
