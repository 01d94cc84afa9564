import { Calls } from "./calls.js";
import type { CallOptions, ClientOptions } from "./calls.js";
import { newId } from "./id.js";
import { OpenSaga } from "./open-saga.js";
import * as requests from "./requests.js";
import type { Traced, Waiting } from "./requests.js";
import { carryOut } from "./saga.js";
import type { Block, SagaOptions } from "./saga.js";
import { follow } from "./stream.js";
import type { Filter, Opening, Outcome, Submission, Transaction, WatchLine } from "./types.js";

/**
 * A client of a gateway. Each call is repeated by itself until it has a clear answer, or its time is over; repetitions do no harm, since
 * whatever is done has an id and a name that are drawn before the first request.
 */
export class Client {
  readonly #calls: Calls;

  /** `url`: the gateway's, like `http://127.0.0.1:7480`. */
  constructor(url: string | URL, options: ClientOptions = {}) {
    this.#calls = new Calls(url, options);
  }

  /** Carries a transaction out and returns its outcome, which is `pending` where it was not decided in time. */
  submit(document: Submission, options: Waiting & Traced & CallOptions & { callback?: string } = {}): Promise<Outcome> {
    return this.#calls.ask(requests.submit({ ...document, id: document.id ?? newId() }, options), options);
  }

  /** Returns how a transaction stands, with its history. `wait`: until it is decided, or that time is over; else not at all. */
  get(id: string, options: Waiting & CallOptions = {}): Promise<Transaction> {
    return this.#calls.ask(requests.get(id, options), options);
  }

  /** Aborts a transaction that is not decided; a saga is turned back. Returns how it stands then. */
  cancel(id: string, options: CallOptions = {}): Promise<Outcome> {
    return this.#calls.ask(requests.cancel(id), options);
  }

  /** Lists transactions, without their histories and results; asks for one page after the other, `filter.limit` in each. */
  async *list(
    filter: Filter & { after?: string } = {},
    options: CallOptions = {},
  ): AsyncGenerator<Transaction, void, void> {
    const { after, ...wanted } = filter;
    for (let cursor = after; ;) {
      const page = await this.#calls.ask<{ transactions: Transaction[]; cursor: string | null }>(
        requests.list(wanted, cursor),
        options,
      );
      yield* page.transactions;
      if (page.cursor === null) return;
      cursor = page.cursor;
    }
  }

  /** Tells what happens to a transaction, as it happens, until it has ended. `after`: the cursor behind which it goes on. */
  watch(
    id: string,
    { after, ...options }: CallOptions & { after?: string } = {},
  ): AsyncGenerator<WatchLine, void, void> {
    return follow(this.#calls, (cursor) => requests.watch(id, cursor), after, options);
  }

  /** Tells what happens to all transactions, as it happens, for ever. `coordinator`: its id, where there are several. */
  events(options: CallOptions & { after?: string; coordinator?: string } = {}): AsyncGenerator<WatchLine, void, void> {
    return follow(this.#calls, (cursor) => requests.events(cursor, options.coordinator), options.after, options);
  }

  /** Begins an open saga under an id; without, a new one is drawn. */
  async begin(terms: Opening & Traced & { id?: string } = {}, options: CallOptions = {}): Promise<OpenSaga> {
    const { id = newId(), traceparent, tracestate, ...opening } = terms;
    await this.#calls.ask(requests.begin(id, opening, { traceparent, tracestate }), options);
    return new OpenSaga(this.#calls, id);
  }

  /** Returns the open saga of this id, to go on with. Nothing is asked. */
  resume(id: string): OpenSaga {
    return new OpenSaga(this.#calls, id);
  }

  /**
   * Runs a block of code as a saga, and returns what the block returns. When it ends the saga is closed, and its outcome waited for. When
   * it throws, the saga is turned back, and the error goes on to the caller once that is done; `problem` of the saga says what stood
   * against that. Where a saga that was closed ends otherwise, a `NotAsWanted` says how.
   */
  saga<Result>(block: Block<Result>, options?: SagaOptions): Promise<Result>;
  saga<Result>(id: string, block: Block<Result>, options?: SagaOptions): Promise<Result>;
  saga<Result>(
    first: string | Block<Result>,
    second?: Block<Result> | SagaOptions,
    third?: SagaOptions,
  ): Promise<Result> {
    const [block, options] =
      typeof first === "function" ? [first, second as SagaOptions] : [second as Block<Result>, third];
    const id = typeof first === "string" ? first : newId();
    return carryOut(this.#calls, id, block, options ?? {});
  }
}
