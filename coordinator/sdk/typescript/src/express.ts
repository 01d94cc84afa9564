import type { Request, RequestHandler } from "express";
import type { Barrier, OnceOptions } from "./barrier/barrier.js";
import { answer, headersOf } from "./handlers.js";
import type { Handlers } from "./handlers.js";

/**
 * Returns a handler of Express that does each call of a participant once, by the handler of its operation. Parse the body before it
 * (`express.json()`). What is no refusal goes on to the next error handler, which has to answer 500.
 */
export function effect<Db>(
  barrier: Barrier<Db>,
  handlers: Handlers<Db, Request>,
  options: OnceOptions = {},
): RequestHandler {
  return (request, response, next) => {
    answer(barrier, handlers, request, options).then((told) => {
      // Past Express, which would change the content type of what was kept.
      response.writeHead(told.status, headersOf(told)).end(told.body ?? undefined);
    }, next);
  };
}

export type { Handler, Handlers } from "./handlers.js";
