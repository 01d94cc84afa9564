import { NotFound, OutcomeUnknown, Refused, StepRefused, StepUnanswered, Unreachable, UndoubtError } from "./errors.js";
import type { Told } from "./errors.js";
import type { Request } from "./requests.js";
import type { Problem } from "./types.js";

/** An answer, or why there is none. */
export type Answer =
  | { readonly is: "answer"; readonly status: number; readonly retryAfter: string | null; readonly text: string }
  /** Nobody listens: the request was not read. */
  | { readonly is: "refused"; readonly cause: unknown }
  /** It was sent, and may have been read. */
  | { readonly is: "cut"; readonly cause: unknown };

/** What an answer means to the caller of a request. */
export type Verdict =
  | { readonly is: "result"; readonly result: unknown }
  | {
      readonly is: "error";
      readonly error: UndoubtError;
      /** The very same request may come again, and its answer may be another then. */
      readonly repeatable: boolean;
      /** It may have been done. */
      readonly unclear: boolean;
      /** The time after which to come again, in milliseconds. */
      readonly after: number | undefined;
    };

/** Problems that do not say whether it was done, and that another request may clear up. */
const ASK_AGAIN = new Set(["OUTCOME_KNOWN", "NO_ROOM_FOR_ANSWER", "STOPPING", "NOT_DECIDED_YET"]);
/** Problems that do not say whether it was done. */
const UNCLEAR = new Set([...ASK_AGAIN, "OUTCOME_UNKNOWN", "STEP_UNANSWERED", "RECORD_COLLECTED", "INTERNAL"]);

/** Returns what an answer to a request means. Pure. */
export function read(request: Request, answer: Answer): Verdict {
  switch (answer.is) {
    case "refused":
      return silent(request, "nobody listens there, and nothing was done", false, answer.cause);
    case "cut":
      return silent(request, "the connection ended before an answer came", true, answer.cause);
    case "answer":
      return told(request, answer.status, answer.text, seconds(answer.retryAfter));
  }
}

/** Returns the error with which a request ends once the time for it is over, or nothing more can be found out. Pure. */
export function ending(request: Request, last: UndoubtError, unclear: boolean): UndoubtError {
  if (request.method === "GET") {
    if (!unclear || last instanceof Unreachable) return last;
    return new Unreachable({
      ...about(request),
      code: last.code,
      detail: last.detail,
      retryable: last.retryable,
      status: last.status,
      cause: last,
    });
  }
  if (!unclear || last instanceof OutcomeUnknown) return last;
  const detail = `it may have been done or not: an earlier attempt got no clear answer, and the last one says: ${last.detail}`;
  return new OutcomeUnknown({
    ...about(request),
    code: "OUTCOME_UNKNOWN",
    detail,
    retryable: true,
    status: last.status,
    cause: last,
  });
}

function told(request: Request, status: number, text: string, after: number | undefined): Verdict {
  const json = parsed(text);
  if (status >= 200 && status < 300) {
    if (json !== undefined) return { is: "result", result: json };
    return silent(request, `the answer of status ${status} cannot be read`, true, undefined, after);
  }
  if (isProblem(json)) return problem(request, status, json, after);
  const detail = `status ${status}, and not from a gateway: ${text.slice(0, 200)}`;
  if (status >= 500) return silent(request, detail, true, undefined, after, status);
  const error = new Refused({ ...about(request), code: `HTTP_${status}`, detail, retryable: status === 429, status });
  return { is: "error", error, repeatable: status === 429, unclear: false, after };
}

function problem(request: Request, status: number, problem: Problem, after: number | undefined): Verdict {
  const { code, detail, retryable } = problem;
  const unclear = UNCLEAR.has(code);
  const repeatable = (retryable && code !== "STEP_UNANSWERED") || ASK_AGAIN.has(code);
  const all = { code, detail, retryable, status, tx: problem.tx ?? request.tx };
  return { is: "error", error: error(all, problem, unclear), repeatable, unclear, after };
}

function error(told: Told, problem: Problem, unclear: boolean): UndoubtError {
  switch (told.code) {
    case "UNREACHED":
      return new Unreachable(told);
    case "STEP_REFUSED":
      return new StepRefused({ ...told, refusal: problem.refusal ?? undefined });
    case "STEP_UNANSWERED":
      return new StepUnanswered(told);
    case "NOT_FOUND":
      return new NotFound(told);
    default:
      return unclear ? new OutcomeUnknown(told) : new Refused(told);
  }
}

/** Returns the verdict where no gateway says what became of it. */
function silent(
  request: Request,
  why: string,
  unclear: boolean,
  cause?: unknown,
  after?: number,
  status?: number,
): Verdict {
  const all = {
    ...about(request),
    detail: `${request.method} ${request.path}: ${why}`,
    retryable: true,
    status,
    cause,
  };
  const mayBeDone = unclear && request.method !== "GET";
  const error = mayBeDone
    ? new OutcomeUnknown({ ...all, code: "OUTCOME_UNKNOWN" })
    : new Unreachable({ ...all, code: "UNREACHABLE" });
  return { is: "error", error, repeatable: true, unclear, after };
}

const about = (request: Request) => ({ tx: request.tx });

function isProblem(json: unknown): json is Problem {
  return (
    typeof json === "object" && json !== null && "code" in json && typeof json.code === "string" && "detail" in json
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Returns a header `Retry-After` in milliseconds, if it can be read: the gateway tells whole seconds. */
function seconds(header: string | null): number | undefined {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;
}
