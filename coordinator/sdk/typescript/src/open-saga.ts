import type { CallOptions, Calls } from "./calls.js";
import * as requests from "./requests.js";
import type { JoinedStep, Waiting } from "./requests.js";
import type { Outcome, Results, StepStanding, Transaction } from "./types.js";

/** An open saga: steps join it until it is closed or cancelled. Whoever knows its id may go on with it. */
export class OpenSaga {
  readonly id: string;
  readonly #calls: Calls;
  readonly #signal: AbortSignal | undefined;

  /** `signal`: ends each call that has none of its own. */
  constructor(calls: Calls, id: string, signal?: AbortSignal) {
    this.id = id;
    this.#calls = calls;
    this.#signal = signal;
  }

  /**
   * Has a step join, and its action run; returns what it handed back. Throws `StepRefused` if it was refused: then the saga is as open
   * as before. The same step may be run again, and tells the same.
   */
  async run(step: string, joining: JoinedStep, options: CallOptions = {}): Promise<StepDone> {
    return new StepDone(await this.#ask<StepStanding>(requests.run(this.id, step, joining), options));
  }

  /** Has a step join of which the action, if there is one, is the caller's to do afterwards. */
  join(step: string, joining: JoinedStep, options: CallOptions = {}): Promise<StepStanding> {
    return this.#ask(requests.join(this.id, step, joining), options);
  }

  /** Closes the saga: nothing is undone from then on. Returns how it stands, `pending` where its steps are not completed in time. */
  close(options: Waiting & CallOptions = {}): Promise<Outcome> {
    return this.#ask(requests.close(this.id, options), options);
  }

  /** Turns the saga back. Returns how it stands, `pending` while not all is undone. */
  cancel(options: CallOptions = {}): Promise<Outcome> {
    return this.#ask(requests.cancel(this.id), options);
  }

  /** Returns all that is known of it. */
  get(options: Waiting & CallOptions = {}): Promise<Transaction> {
    return this.#ask(requests.get(this.id, options), options);
  }

  #ask<Result>(request: requests.Request, options: CallOptions): Promise<Result> {
    return this.#calls.ask(request, { signal: this.#signal, ...options });
  }
}

/** The standing of a step that was run, with what its action handed back. */
export class StepDone implements StepStanding {
  readonly tx: string;
  readonly step: string;
  readonly state: string;
  readonly results: Results | null;

  constructor({ tx, step, state, results }: StepStanding) {
    this.tx = tx;
    this.step = step;
    this.state = state;
    this.results = results;
  }

  /** Returns the JSON that an HTTP service answered; `undefined` if there was none. Its form is the service's word, nobody checks it. */
  json<Body = unknown>(): Body | undefined {
    return (this.results?.http as { json?: Body } | undefined)?.json;
  }

  /** Returns the values that the pieces of work handed back, one for each. */
  values(): (string | null)[] {
    return this.results?.values ?? [];
  }
}
