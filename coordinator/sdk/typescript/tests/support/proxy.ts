import { createServer, request as ask } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";

/** What becomes of a request: it passes; its answer is lost; it is lost itself; the answer is cut after so many events. */
export type Fate = "passes" | "answer lost" | "request lost" | { cutAfterEvents: number };

/** Stands between a client and a gateway, on a free port of loopback. */
export class Proxy {
  readonly url: string;
  /** Requests that came, in order: `METHOD PATH`. */
  readonly passed: { line: string; headers: IncomingMessage["headers"] }[] = [];
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** `fate`: says what becomes of a request; `pages`: answered by the proxy itself, by path. */
  static start(
    to: string,
    fate: (line: string, earlier: number) => Fate,
    pages: Record<string, [string, string]> = {},
  ): Promise<Proxy> {
    return new Promise((resolve) => {
      const server = createServer((request, response) => {
        const page = pages[request.url ?? ""];
        if (page !== undefined) return void response.writeHead(200, { "content-type": page[0] }).end(page[1]);
        const line = `${request.method} ${request.url}`;
        const earlier = proxy.passed.filter((passed) => passed.line === line).length;
        proxy.passed.push({ line, headers: request.headers });
        pass(to, fate(line, earlier), request, response);
      });
      let proxy: Proxy;
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        proxy = new Proxy(server, typeof address === "object" && address !== null ? address.port : 0);
        resolve(proxy);
      });
    });
  }

  async end(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function pass(to: string, fate: Fate, request: IncomingMessage, response: ServerResponse): void {
  const cut = () => void request.socket.destroy();
  if (fate === "request lost") return cut();
  const onward = ask(to + request.url, { method: request.method, headers: request.headers }, (answer) => {
    if (fate === "answer lost") return void answer.resume().once("end", cut);
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    if (typeof fate !== "object") return void answer.pipe(response);
    let events = 0;
    answer.on("data", (piece: Buffer) => {
      events += piece.toString().split("\nevent: ").length - 1;
      response.write(piece);
      if (events >= fate.cutAfterEvents) setTimeout(cut, 20);
    });
    answer.once("end", () => response.end());
  });
  onward.once("error", cut);
  response.once("close", () => onward.destroy());
  request.pipe(onward);
}
