import { expect, test } from "vitest";
import { checkEpoch, MAX_EPOCH, parseEpoch } from "../src/epoch.ts";

test("an epoch is a whole number of seconds that a tar header holds", () => {
  for (const epoch of [0, 1, 1_700_000_000, MAX_EPOCH]) expect(checkEpoch(epoch)).toBe(epoch);
  expect(MAX_EPOCH).toBe(8_589_934_591);
});

test.each([-1, MAX_EPOCH + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])("%d is none", (epoch) => {
  expect(() => checkEpoch(epoch)).toThrow(`not an epoch (expected an integer number of seconds from 0 to 8589934591, found ${epoch})`);
  expect(() => checkEpoch(epoch)).toThrow(expect.objectContaining({ code: "BAD_EPOCH", kind: "input" }));
});

test("an epoch's text is decimal digits, as SOURCE_DATE_EPOCH has it", () => {
  for (const [text, epoch] of [
    ["0", 0],
    ["1700000000", 1_700_000_000],
    ["0001", 1],
    ["8589934591", MAX_EPOCH],
  ] as const)
    expect(parseEpoch(text)).toBe(epoch);
});

test.each(["", " 1", "1 ", "+1", "-1", "1.5", "1e9", "0x10", "now", "1_000", "2023-11-14", "8589934592", "9".repeat(16), "١"])(
  "the text %j is none",
  (text) => {
    expect(() => parseEpoch(text)).toThrow(expect.objectContaining({ code: "BAD_EPOCH" }));
  },
);
