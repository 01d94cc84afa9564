import { describe, expect, it } from "vitest";
import { milliseconds, text } from "../src/duration.js";
import { EventReader } from "../src/event-reader.js";
import { newId } from "../src/id.js";
import { pause } from "../src/pause.js";
import { pieces } from "../src/work.js";

describe("durations", () => {
  it.each([
    ["500ms", 500],
    ["10s", 10_000],
    ["1m30s", 90_000],
    ["1m 30s", 90_000],
    ["0.5h", 1_800_000],
    [7, 7],
  ] as const)("%s", (span, expected) => {
    expect(milliseconds(span)).toBe(expected);
  });

  it.each(["", "soon", "10", "5 s x", -1, Number.NaN])("%s is none", (span) => {
    expect(() => milliseconds(span)).toThrow(/is no duration; write milliseconds, or text like/);
  });

  it("are told to the gateway as they were given", () => {
    expect([text("1m30s"), text(1_500)]).toEqual(["1m30s", "1500ms"]);
  });
});

describe("ids", () => {
  it("are UUIDs of version 7 that sort by time, and no two are the same", () => {
    expect(newId(0x0123_4567_89ab)).toMatch(/^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(newId(1_000) < newId(2_000)).toBe(true);
    expect(new Set(Array.from({ length: 1_000 }, () => newId(5))).size).toBe(1_000);
  });
});

describe("pauses", () => {
  it("grow, are random, and have a bound", () => {
    expect([pause(0, 1), pause(1, 1), pause(2, 1), pause(50, 1)]).toEqual([100, 200, 400, 2_000]);
    expect(pause(3, 0)).toBe(400);
  });
});

describe("server-sent events", () => {
  const stream =
    ': a sign of life\r\n\r\nid: 1\nevent: begun\ndata: {"a":1}\n\ndata: x\rdata:  y\r\rdata\n\nevent: odd\n\nid: 2\nretry: 5\ndata: z\n\n';
  const expected = [
    { event: "begun", data: '{"a":1}', id: "1" },
    { event: "message", data: "x\n y", id: undefined },
    { event: "message", data: "", id: undefined },
    { event: "message", data: "z", id: "2" },
  ];

  it.each([1, 2, 3, 7, 1_000])("are read in pieces of %i", (size) => {
    const reader = new EventReader();
    const told = [];
    for (let at = 0; at < stream.length; at += size) told.push(...reader.push(stream.slice(at, at + size)));
    expect(told).toEqual(expected);
  });

  it("have a bound", () => {
    expect(() => new EventReader().push("x".repeat(2_000_000))).toThrow(RangeError);
    const reader = new EventReader();
    expect(() => Array.from({ length: 2_000 }, () => reader.push(`data: ${"x".repeat(1_000)}\n`))).toThrow(RangeError);
  });
});

describe("work", () => {
  it("is a list, one piece, or raw", () => {
    expect(pieces("add x 1")).toEqual(["add x 1"]);
    expect(pieces([{ add: {} }, "get x"])).toEqual([{ add: {} }, "get x"]);
    expect(pieces({ add: {} })).toEqual([{ add: {} }]);
    expect(pieces({ raw: "0x00" })).toEqual({ raw: "0x00" });
  });
});
