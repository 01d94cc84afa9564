import type { FastifyReply, FastifyRequest } from "fastify";
import type { Barrier, OnceOptions } from "./barrier/barrier.js";
import { answer, headersOf } from "./handlers.js";
import type { Handlers } from "./handlers.js";

/**
 * Returns a handler of Fastify that does each call of a participant once, by the handler of its operation. What is no refusal is thrown,
 * and Fastify answers 500.
 */
export function effect<Db>(barrier: Barrier<Db>, handlers: Handlers<Db, FastifyRequest>, options: OnceOptions = {}) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const told = await answer(barrier, handlers, request, options);
    return reply.code(told.status).headers(headersOf(told)).send(told.body === null ? undefined : Buffer.from(told.body));
  };
}

export type { Handler, Handlers } from "./handlers.js";
