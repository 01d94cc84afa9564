import type { components, operations } from "./api.js";

type Schemas = components["schemas"];

/** A transaction to be carried out: branches, or steps where it is a saga. */
export type Submission = Schemas["Submission"];
/** The terms on which an open saga is begun. */
export type Opening = Schemas["Opening"];
/** A step that joins an open saga. */
export type JoiningStep = Schemas["JoiningStep"];
/** A step of a saga that is submitted whole. */
export type Step = Schemas["Step"];
/** Work of a participant. */
export type Work = Schemas["Work"];
/** The outcome of a transaction, as far as there is one. */
export type Outcome = Schemas["Outcome"];
/** The reason of an abort. */
export type Abort = Schemas["Abort"];
/** The step that an operator has to end. */
export type StuckStep = Schemas["Stuck"];
/** All that is known of a transaction. */
export type Transaction = Schemas["Transaction"];
/** The standing of a step that has joined an open saga. */
export type StepStanding = Schemas["StepStanding"];
/** What a participant or a step handed back. */
export type Results = Schemas["Results"];
/** An event of a transaction, or a gap among the events. */
export type WatchLine = Schemas["WatchLine"];
/** A problem as the gateway tells it. */
export type Problem = Schemas["Problem"];
/** The transactions that a list is to hold; all, where nothing is said. */
export type Filter = Omit<NonNullable<operations["list"]["parameters"]["query"]>, "after">;

/** A span of time: milliseconds, or text like `500ms`, `10s` or `1m30s`. */
export type Duration = number | string;
