export { Barrier, NotRecorded } from "./barrier.js";
export type { Dialect, OnceOptions, Work } from "./barrier.js";
export type { Call, GivenHeaders } from "./call.js";
export type { Answer, Operation, Part, Row } from "./decide.js";
export { InProgress, Refusal, Reply } from "./reply.js";
