import type { Work } from "./types.js";

/** A piece of work: text like `add x 1`, or an object like that of `post`. */
export type Piece = string | Readonly<Record<string, unknown>>;

/** Work of a participant: some pieces, or one, or `{ raw }` in a format of the participant's own. */
export type GivenWork = Piece | readonly Piece[];

/** The parts of a request to a service beyond its method and its URL. */
export interface HttpParts {
  headers?: Readonly<Record<string, string>>;
  /** A body that is no JSON. */
  body?: string;
  /** What is taken from the answers of earlier steps, as `STEP.0.MEMBER`; `{NAME}` in the URL and `"{NAME}"` in the JSON stand for it. */
  from?: Readonly<Record<string, string>>;
}

/** Returns work of the participant over HTTP services: a request to one of them. */
export function http(method: string, url: string, json?: unknown, parts: HttpParts = {}): Piece {
  return { http: { method, url, ...(json === undefined ? {} : { json }), ...parts } };
}

/** Returns work of the participant over HTTP services: a `POST` of some JSON. */
export function post(url: string, json?: unknown, parts: HttpParts = {}): Piece {
  return http("POST", url, json, parts);
}

/** Returns work as the gateway takes it. */
export function pieces(given: GivenWork): Work {
  if (typeof given === "string") return [given];
  if (isList(given)) return [...given];
  return typeof given.raw === "string" ? { raw: given.raw } : [given];
}

function isList(given: GivenWork): given is readonly Piece[] {
  return Array.isArray(given);
}
