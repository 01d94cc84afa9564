import type { Duration } from "./types.js";

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Returns a span of time in milliseconds. Throws a `RangeError` that says how to write one. */
export function milliseconds(span: Duration): number {
  const total = typeof span === "number" ? span : parsed(span);
  if (!Number.isFinite(total) || total < 0) {
    throw new RangeError(
      `${JSON.stringify(span)} is no duration; write milliseconds, or text like 500ms, 10s or 1m30s`,
    );
  }
  return total;
}

/** Returns a span of time as text for the gateway. */
export function text(span: Duration): string {
  return typeof span === "number" ? `${Math.round(milliseconds(span))}ms` : span;
}

function parsed(span: string): number {
  const form = /(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*/y;
  const trimmed = span.trim();
  let total = trimmed === "" ? Number.NaN : 0;
  while (form.lastIndex < trimmed.length) {
    const found = form.exec(trimmed);
    if (found === null) return Number.NaN;
    total += Number(found[1]) * (UNITS[found[2] ?? ""] ?? Number.NaN);
  }
  return total;
}
