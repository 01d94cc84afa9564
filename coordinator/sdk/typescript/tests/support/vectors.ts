import { readFileSync } from "node:fs";
import { expect } from "vitest";

const folder = new URL("../../../vectors/", import.meta.url);

/** Returns a file of vectors. */
export function vectors<Form>(name: string): Form {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Form;
}

/** Returns the text of a file beside the vectors. */
export function besideVectors(name: string): string {
  return readFileSync(new URL(name, folder), "utf8");
}

/** Fails if a vector has a member that this SDK does not know. */
export function onlyKnown(what: string, given: object, known: readonly string[]): void {
  const others = Object.keys(given).filter((name) => !known.includes(name));
  expect(others, `${what}: this SDK does not know these members`).toEqual([]);
}
