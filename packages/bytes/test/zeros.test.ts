import fc from "fast-check";
import { expect, test } from "vitest";
import { isZero } from "../src/zeros.ts";

test("a range is zero exactly when no byte in it is another, whatever its alignment", () => {
  fc.assert(
    fc.property(fc.nat(200), fc.nat(200), fc.nat(9), fc.option(fc.nat(220)), (start, length, shift, spot) => {
      const bytes = new Uint8Array(512).subarray(shift);
      if (spot !== null) bytes[spot] = 1;
      const inside = spot !== null && spot >= start && spot < start + length;
      expect(isZero(bytes, start, start + length)).toBe(!inside);
    }),
    { numRuns: 2000 },
  );
});

test("the whole array is the default range", () => {
  expect(isZero(new Uint8Array(33))).toBe(true);
  expect(isZero(new Uint8Array(33).fill(7, 32))).toBe(false);
});
