/** What a service is asked to do. */
export type Operation = "action" | "compensation" | "completion" | "check-back" | "try" | "confirm" | "cancel";

/** An answer that a service gives, and that a row keeps. */
export interface Answer {
  readonly status: number;
  /** The content type; null: there is no body. */
  readonly type: string | null;
  readonly body: Uint8Array | null;
  /** The seconds after which to ask again. */
  readonly retryAfter?: number;
}

/** The parts of a row. A try is an action, a confirm a completion, a cancel a compensation. */
export type Part = "action" | "completion" | "compensation";

/** A row: the answers to what was done under one effect, as far as there are any. */
export type Row = { readonly [part in Part]?: Answer };

/** What a call is to do. */
export type Decision =
  { readonly is: "run" } | { readonly is: "answer"; readonly answer: Answer; readonly keep: boolean };

/** What becomes of the answer of a handler. */
export interface Ending {
  readonly answer: Answer;
  /** The handler's changes are committed; else they are rolled back. */
  readonly commit: boolean;
  /** The answer is kept in the row. */
  readonly keep: boolean;
}

/** The answer without a body. */
export const EMPTY: Answer = { status: 200, type: null, body: null };

const RUN: Decision = { is: "run" };
/** Answers that say: not now. */
const NOT_NOW = new Set([408, 423, 425, 429]);

/** Returns the part of a row that an operation is kept in. */
export function partOf(operation: Operation): Part {
  switch (operation) {
    case "action":
    case "try":
    case "check-back":
      return "action";
    case "completion":
    case "confirm":
      return "completion";
    case "compensation":
    case "cancel":
      return "compensation";
  }
}

/**
 * Returns what a call is to do, by the row of its effect. `always`: the handler of a compensation runs also where no action was heard of,
 * because that is the caller's own. Pure.
 */
export function decide(row: Row, operation: Operation, always: boolean): Decision {
  const before = row[partOf(operation)];
  if (before !== undefined) return { is: "answer", answer: before, keep: false };
  switch (operation) {
    case "action":
    case "try":
    case "completion":
      return row.compensation === undefined ? RUN : late();
    case "confirm":
      if (row.compensation !== undefined) return late();
      if (isDone(row.action)) return RUN;
      return refuse(
        "NEVER_TRIED",
        "nothing was tried under this effect, or it was refused, so there is nothing to confirm",
        false,
      );
    case "compensation":
    case "cancel":
      if (isDone(row.action) || row.completion !== undefined) return RUN;
      if (always && row.action === undefined) return RUN;
      return { is: "answer", answer: EMPTY, keep: true };
    case "check-back":
      return refuse("NOT_COMMITTED", "the own transaction was not committed, and cannot be any more", true);
  }
}

/** Returns what becomes of the answer of a handler. Pure. */
export function settle(operation: Operation, answer: Answer): Ending {
  const { status } = answer;
  if (status >= 200 && status < 300) return { answer, commit: true, keep: true };
  const isRefusal = status >= 400 && status < 500 && !NOT_NOW.has(status);
  return { answer, commit: false, keep: isRefusal && partOf(operation) === "action" };
}

/** Returns an answer of the barrier's own. */
export function problem(status: number, code: string, detail: string): Answer {
  const told = { type: `urn:undoubt:problem:${code}`, title: TITLES[code] ?? code, status, code, detail };
  const answer = { status, type: "application/problem+json", body: new TextEncoder().encode(JSON.stringify(told)) };
  return status === 425 ? { ...answer, retryAfter: 1 } : answer;
}

const TITLES: Readonly<Record<string, string>> = {
  LATE: "It was undone before: what was undone stays so.",
  NEVER_TRIED: "It was never tried.",
  NOT_COMMITTED: "It was not committed, and never will be.",
  REFUSED: "It is refused, and nothing of it was done.",
  IN_PROGRESS: "It is not done yet. Ask again.",
  NO_EFFECT: "The request does not say what it is about.",
  NO_OPERATION: "The request does not say what is to be done.",
  UNKNOWN_OPERATION: "Nobody knows what is to be done.",
  NO_TRANSACTION: "The request does not say which transaction it asks about.",
};

function late(): Decision {
  return refuse("LATE", "the compensation of this effect came before, so nothing is done for it any more", false);
}

function refuse(code: string, detail: string, keep: boolean): Decision {
  return { is: "answer", answer: problem(409, code, detail), keep };
}

function isDone(answer: Answer | undefined): boolean {
  return answer !== undefined && answer.status >= 200 && answer.status < 300;
}
