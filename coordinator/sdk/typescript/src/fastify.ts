import type { FastifyReply, FastifyRequest, RouteGenericInterface } from "fastify";
import type { Barrier, OnceOptions } from "./barrier/barrier.js";
import { answer, headersOf } from "./handlers.js";
import type { Handlers } from "./handlers.js";

/**
 * Returns a handler of Fastify that does each call of a participant once, by the handler of its operation. What is no refusal is thrown,
 * and Fastify answers 500.
 */
export function effect<Db, Route extends RouteGenericInterface = RouteGenericInterface>(
  barrier: Barrier<Db>,
  handlers: Handlers<Db, FastifyRequest<Route>>,
  options: OnceOptions = {},
): (request: FastifyRequest<Route>, reply: FastifyReply) => Promise<FastifyReply> {
  return async (request, reply) => {
    const told = await answer(barrier, handlers, request, options);
    return reply
      .code(told.status)
      .headers(headersOf(told))
      .send(told.body === null ? undefined : Buffer.from(told.body));
  };
}

export type { Handler, Handlers } from "./handlers.js";
