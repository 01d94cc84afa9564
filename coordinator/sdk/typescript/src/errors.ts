import type { Abort, Outcome, StuckStep } from "./types.js";

/** The things that every error tells. */
export interface Told {
  /** The stable word of the reason: of the gateway's catalogue, or one of this package. */
  code: string;
  /** The problem in this case, its cause, and the way out. */
  detail: string;
  /** True if the very same call may be made again, and may then succeed; of an abort, the same work under a new id. */
  retryable: boolean;
  /** The status of the answer, if there was one. */
  status?: number | undefined;
  /** The transaction that it is about. */
  tx?: string | undefined;
  cause?: unknown;
}

/** Something that did not come out as it was asked for. Every error of this package is one. */
export class UndoubtError extends Error {
  readonly code: string;
  readonly detail: string;
  readonly retryable: boolean;
  readonly status: number | undefined;
  readonly tx: string | undefined;

  constructor({ code, detail, retryable, status, tx, cause }: Told) {
    super(`${code}${tx === undefined ? "" : ` (${tx})`}: ${detail}`, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.detail = detail;
    this.retryable = retryable;
    this.status = status;
    this.tx = tx;
  }
}

/** The call was refused, and nothing was done. */
export class Refused extends UndoubtError {}

/** There is no trace of it. */
export class NotFound extends Refused {}

/** A step was refused by its participant: nothing of it is in effect, and the saga is as open as before. */
export class StepRefused extends Refused {
  /** The code with which the participant refused it. */
  readonly refusal: string | undefined;

  constructor(told: Told & { refusal?: string | undefined }) {
    super(told);
    this.refusal = told.refusal;
  }
}

/** Nobody answered, and nothing was done. */
export class Unreachable extends UndoubtError {}

/** It may have been done or not, and nobody could say in time. `tx` is the one to ask about. */
export class OutcomeUnknown extends UndoubtError {}

/** A step may be in effect: run it again, or cancel the saga. */
export class StepUnanswered extends OutcomeUnknown {}

/** It is known how the transaction ended, or why it does not: not as the caller wanted. */
export class NotAsWanted extends UndoubtError {
  readonly outcome: Outcome;

  constructor(outcome: Outcome, told: Omit<Told, "tx">) {
    super({ ...told, tx: outcome.tx });
    this.outcome = outcome;
  }
}

/** It aborted: nothing of it is in effect, or all of it was undone. `retryable`: the same work may succeed under a new id. */
export class Aborted extends NotAsWanted {
  /** The reason, in a word that stays the same. */
  readonly reason: string;
  /** The participant that caused it, if one did. */
  readonly participant: string | null;

  constructor(outcome: Outcome, abort: Abort | null) {
    const detail = abort?.message ?? "for a reason that is not told";
    super(outcome, { code: "ABORTED", detail, retryable: abort?.worth_retrying ?? false });
    this.reason = abort?.reason ?? "unknown";
    this.participant = abort?.participant ?? null;
  }
}

/** It was to be cancelled, and it is too late: it has committed. */
export class Committed extends NotAsWanted {
  constructor(outcome: Outcome) {
    const detail = `it was to be cancelled, and had committed before; undo it by another transaction`;
    super(outcome, { code: "COMMITTED", detail, retryable: false });
  }
}

/** A step has no way but on and is refused for good: an operator has to end it before the transaction goes on. */
export class Stuck extends NotAsWanted {
  readonly stuck: StuckStep;

  constructor(outcome: Outcome, stuck: StuckStep) {
    const { step, participant, direction, refusal } = stuck;
    const what = `the ${direction} of step ${step} at ${participant} is refused for good (${refusal})`;
    const detail = `it waits for an operator: ${what}; end that by \`undoubt resolve-step\``;
    super(outcome, { code: "STUCK", detail, retryable: false });
    this.stuck = stuck;
  }
}

/** Some of it is not as was decided. */
export class Damaged extends NotAsWanted {
  constructor(outcome: Outcome) {
    const detail = `it is ${outcome.state}, and a part of it is not; \`undoubt history ${outcome.tx}\` tells which`;
    super(outcome, { code: "DAMAGED", detail, retryable: false });
  }
}
