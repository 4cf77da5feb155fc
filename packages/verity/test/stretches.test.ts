import type { ByteRange } from "@imgkit/bytes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type HoleRun, stretches, type Unit } from "../src/stretches.ts";

const size = 64;

/** What a list of stretches says of each unit: its data. */
function byUnit(found: readonly (Unit | HoleRun)[]): (readonly number[] | undefined)[] {
  return found.flatMap((one) => ("unit" in one ? [one.data] : Array.from({ length: one.holes }, () => [])));
}

test("units are whole, holes are runs, and a unit's data are cut to it", () => {
  const ranges = [
    { start: 2 * size + 10, end: 3 * size + 1 },
    { start: 3 * size + 5, end: 3 * size + 7 },
    { start: 9 * size, end: 10 * size },
  ];
  const found = (longest: number): readonly (Unit | HoleRun)[] => [...stretches(12, size, longest, () => ranges)];
  expect(found(4)).toEqual([
    { first: 0, holes: 2 },
    { unit: 2, data: [138, 192] },
    { unit: 3, data: [192, 193, 197, 199] },
    { first: 4, holes: 4 },
    { first: 8, holes: 1 },
    { unit: 9, data: [576, 640] },
    { first: 10, holes: 2 },
  ]);
  expect(found(0).every((one) => "unit" in one)).toBe(true);
  expect(byUnit(found(0))).toEqual(byUnit(found(4)));
  expect([...stretches(3, size, 4, () => undefined)]).toEqual([{ unit: 0 }, { unit: 1 }, { unit: 2 }]);
});

test("any ranges, known from any time on: every unit once and in order, and no byte of data is left out", () => {
  const arbitraryRanges = fc.array(fc.nat(40), { maxLength: 24 }).map((gaps) => {
    const ranges: ByteRange[] = [];
    let at = 0;
    for (let i = 0; i + 1 < gaps.length; i += 2) {
      const start = at + (gaps[i] ?? 0) * 7;
      at = start + 1 + (gaps[i + 1] ?? 0) * 3;
      ranges.push({ start, end: at });
      at += 1;
    }
    return ranges;
  });
  fc.assert(
    fc.property(fc.nat(30), arbitraryRanges, fc.nat(5), fc.nat(8), (units, ranges, longest, late) => {
      let asked = 0;
      const found = [...stretches(units, size, longest, () => (asked++ < late ? undefined : ranges))];
      let next = 0;
      for (const one of found) {
        expect("unit" in one ? one.unit : one.first).toBe(next);
        if (!("unit" in one)) expect(one.holes).toBeGreaterThan(0);
        next += "unit" in one ? 1 : one.holes;
      }
      expect(next).toBe(units);
      byUnit(found).forEach((data, unit) => {
        if (data === undefined) return;
        const bytes = Array.from({ length: size }, (_, i) => unit * size + i);
        const inData = (at: number): boolean => data.some((start, i) => i % 2 === 0 && start <= at && at < (data[i + 1] ?? 0));
        expect(bytes.filter(inData)).toEqual(bytes.filter((at) => ranges.some(({ start, end }) => start <= at && at < end)));
      });
    }),
    { numRuns: 500 },
  );
});
