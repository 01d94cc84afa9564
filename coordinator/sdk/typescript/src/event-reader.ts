/** A piece of a stream of server-sent events. */
export interface Piece {
  readonly event: string;
  readonly data: string;
  readonly id: string | undefined;
}

/** The most characters of a line, and of the data of one event. */
const MAX_EVENT_CHARS = 1 << 20;

/**
 * Reads server-sent events from their text, in whatever pieces it comes. Pure: `push` returns the events that are whole by then.
 * Throws a `RangeError` at an event that is longer than any that the gateway tells.
 */
export class EventReader {
  #rest = "";
  #data: string[] = [];
  #chars = 0;
  #event = "message";
  #id: string | undefined;

  push(text: string): Piece[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    this.#bounded(this.#rest.length);
    return lines.flatMap((line) => this.#line(line));
  }

  #line(line: string): Piece[] {
    if (line === "") return this.#whole();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    if (name === "id") this.#id = value;
    if (name === "data") {
      this.#chars += value.length;
      this.#bounded(this.#chars);
      this.#data.push(value);
    }
    return [];
  }

  #whole(): Piece[] {
    const piece = { event: this.#event, data: this.#data.join("\n"), id: this.#id };
    const isEvent = this.#data.length > 0;
    this.#data = [];
    this.#chars = 0;
    this.#event = "message";
    this.#id = undefined;
    return isEvent ? [piece] : [];
  }

  #bounded(chars: number): void {
    if (chars > MAX_EVENT_CHARS)
      throw new RangeError(`an event of more than ${MAX_EVENT_CHARS} characters: this is no stream of the gateway's`);
  }
}
