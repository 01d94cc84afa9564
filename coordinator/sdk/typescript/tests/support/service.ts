import { createServer } from "node:http";
import type { IncomingHttpHeaders, Server } from "node:http";

/** A call that a service heard. */
export interface Heard {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Returns a status, and perhaps JSON. */
export type Answering = (
  heard: Heard,
) => { status: number; json?: unknown } | Promise<{ status: number; json?: unknown }>;

/** A service in this process that notes what it hears. It has no barrier: what comes twice is noted twice. */
export class Service {
  readonly url: string;
  readonly heard: Heard[] = [];
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}`;
  }

  static start(answering: Answering = () => ({ status: 200, json: { price: 30 } })): Promise<Service> {
    return new Promise((resolve) => {
      const server = createServer(async (request, response) => {
        let body = "";
        for await (const piece of request) body += piece;
        const heard = { path: request.url ?? "", headers: request.headers, body };
        service.heard.push(heard);
        const { status, json } = await answering(heard);
        response
          .writeHead(status, { "content-type": "application/json" })
          .end(json === undefined ? "" : JSON.stringify(json));
      });
      let service: Service;
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        service = new Service(server, typeof address === "object" && address !== null ? address.port : 0);
        resolve(service);
      });
    });
  }

  /** Returns what it was asked to do, in order: `PATH OPERATION`. */
  done(tx?: string): string[] {
    const about = this.heard.filter(({ headers }) => tx === undefined || headers["undoubt-transaction"] === tx);
    return about.map(({ path, headers }) => `${path} ${headers["undoubt-operation"]}`);
  }

  async end(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
