// The lowest level of a tree in pieces for threads, with what is known of holes.

import { type ByteRange, clipRanges } from "@imgkit/bytes";

/** Hash blocks of the lowest level, with the data that they cover. */
export interface Unit {
  readonly unit: number;
  /** Where its data may be anything but zeros: pairs of a start and an end, in bytes from the first data block. Absent: anywhere. */
  readonly data?: readonly number[];
}

/** `holes` units, of which the first has the number `first`, whose data are zeros. */
export interface HoleRun {
  readonly first: number;
  readonly holes: number;
}

/**
 * All units from 0 to `units`, each of `unitSize` bytes of data, those that are holes in runs of at most `longest`; with 0 they are units
 * like others. `known` is asked anew for each: holes may become known while the work is under way. Where it says undefined all is data.
 */
export function* stretches(
  units: number,
  unitSize: number,
  longest: number,
  known: () => readonly ByteRange[] | undefined,
): Generator<Unit | HoleRun, void, undefined> {
  // Ranges before this one end before the unit.
  let passed = 0;
  for (let unit = 0; unit < units; ) {
    const ranges = known();
    const start = unit * unitSize;
    const end = start + unitSize;
    while (ranges !== undefined && passed < ranges.length && (ranges[passed] as ByteRange).end <= start) passed++;
    const next = ranges?.[passed];
    if (ranges === undefined) yield { unit };
    else if (longest > 0 && (next === undefined || next.start >= end)) {
      const holes = Math.min(longest, (next === undefined ? units : Math.min(units, Math.floor(next.start / unitSize))) - unit);
      yield { first: unit, holes };
      unit += holes - 1;
    } else {
      let last = passed;
      while (last < ranges.length && (ranges[last] as ByteRange).start < end) last++;
      yield { unit, data: clipRanges(ranges.slice(passed, last), start, end).flatMap((range) => [start + range.start, start + range.end]) };
    }
    unit += 1;
  }
}
