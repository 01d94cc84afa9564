import { problem } from "./decide.js";
import type { Answer, Operation } from "./decide.js";

/** The headers of a request: `Headers`, or an object with names in small letters, as Node's. */
export type GivenHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/** A call of a participant. */
export interface Call {
  readonly operation: Operation;
  /** Names what is done and undone. */
  readonly effect: string;
  /** The transaction's id; empty, if the call does not say. */
  readonly transaction: string;
  /** The step's place in its saga, from 0; of a branch there is none. */
  readonly step: number | undefined;
}

const OPERATIONS: readonly string[] = [
  "action",
  "compensation",
  "completion",
  "check-back",
  "try",
  "confirm",
  "cancel",
] satisfies Operation[];
const MAX_EFFECT_CHARS = 512;
const BY_WHOM = "a participant over HTTP sends it; a call by hand has to, too";

/** Reads the headers of a call. Returns the answer to one that cannot be read. */
export function readCall(headers: GivenHeaders): Call | Answer {
  const [effect, operation] = [header(headers, "undoubt-effect"), header(headers, "undoubt-operation")];
  const transaction = header(headers, "undoubt-transaction");
  const step = header(headers, "undoubt-step");
  if (effect === "") return problem(400, "NO_EFFECT", `the header Undoubt-Effect is missing or empty: ${BY_WHOM}`);
  if (effect.length > MAX_EFFECT_CHARS) {
    return problem(
      400,
      "NO_EFFECT",
      `the header Undoubt-Effect has ${effect.length} characters, and ${MAX_EFFECT_CHARS} at most can be kept`,
    );
  }
  if (operation === "")
    return problem(400, "NO_OPERATION", `the header Undoubt-Operation is missing or empty: ${BY_WHOM}`);
  if (!isOperation(operation)) {
    return problem(400, "UNKNOWN_OPERATION", `Undoubt-Operation says ${operation}; known are ${OPERATIONS.join(", ")}`);
  }
  if (operation !== "check-back")
    return { operation, effect, transaction: decoded(transaction), step: step === "" ? undefined : Number(step) };
  if (transaction === "")
    return problem(400, "NO_TRANSACTION", `the header Undoubt-Transaction is missing or empty: ${BY_WHOM}`);
  return { operation, effect: `own/${transaction}`, transaction: decoded(transaction), step: undefined };
}

/** Returns the name of the row of a service's own transaction. */
export function ownEffect(transaction: string): string {
  const rest = (character: string) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return `own/${encodeURIComponent(transaction).replace(/[!'()*]/g, rest)}`;
}

function header(headers: GivenHeaders, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : headers[name];
  return (typeof value === "string" ? value : value?.[0]) ?? "";
}

function isOperation(text: string): text is Operation {
  return OPERATIONS.includes(text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
