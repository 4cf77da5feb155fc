import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseExtents } from "../src/holes.node.ts";
import type { ByteRange } from "../src/index.ts";

const KIB = 1024;

/** What filefrag 1.47.0 prints of a file of 1 GiB on ext4. */
const printed = `Filesystem type is: ef53
File size of /proc/self/fd/3 is 1073741824 (262144 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:      768..    1279:   21793536..  21794047:    512:        768:
   1:     2560..    3583:   21791744..  21792767:   1024:   21795328: unwritten
   2:   128000..  128511:          0..         0:    512:             unknown_loc,delalloc
   3:   230400..  230911:   21797888..  21798399:    512:   21898240: last
/proc/self/fd/3: 4 extents found
`;
const size = KIB ** 3;
const at = (first: number, last: number): ByteRange => ({ start: first * 4 * KIB - 64 * KIB, end: (last + 1) * 4 * KIB + 64 * KIB });

describe("the list of extents", () => {
  test("is the file's data, whatever the extents' flags are, with 64 KiB to spare on both sides", () => {
    expect(parseExtents(printed, size)).toEqual({
      ranges: [at(768, 1279), at(2560, 3583), at(128000, 128511), at(230400, 230911)],
      listed: (512 + 1024 + 512 + 512) * 4096,
    });
  });

  test("may be empty", () => {
    const none = printed.split("\n").slice(0, 2).join("\n");
    expect(parseExtents(`${none}\n/proc/self/fd/3: 0 extents found\n`, size)).toEqual({ ranges: [], listed: 0 });
    expect(parseExtents(`${none}\n/proc/self/fd/3: 1 extent found\n`, size)).toBeUndefined();
  });

  test("of one extent with inline data is clipped to the file", () => {
    const inline = `Filesystem type is: 9123683e
File size of /proc/self/fd/3 is 100 (1 block of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..    4095:          0..      4095:   4096:             last,not_aligned,inline,eof
/proc/self/fd/3: 1 extent found
`;
    expect(parseExtents(inline, 100)?.ranges).toEqual([{ start: 0, end: 100 }]);
  });

  test.each<[what: string, from: string | RegExp, to: string]>([
    ["a file system that is not known", "ef53", "6969"],
    ["another size", "1073741824", "1073741825"],
    ["blocks of an odd size", "of 4096 bytes", "of 0 bytes"],
    ["another file", /fd\/3 is/, "fd/4 is"],
    ["another title", "logical_offset", "offset"],
    ["an extent left out", / {3}1: .*\n/, ""],
    ["an extent that begins before the last one ends", "2560..", "1279.."],
    ["an extent that ends before it begins", "2560..    3583", "3583..    2560"],
    ["a number that is none", "2560", "2e60"],
    ["no last extent", " last\n", "\n"],
    ["two last extents", "unwritten", "last"],
    ["something behind the table", "/proc/self/fd/3: 4", "warning\n/proc/self/fd/3: 4"],
    ["no end", /\n\/proc.*\n$/, "\n"],
    ["a last line that is cut off", / found\n$/, ""],
    ["nothing", /.*/su, ""],
  ])("with %s is not believed", (_, from, to) => {
    const changed = printed.replace(from, to);
    expect(changed).not.toBe(printed);
    expect(parseExtents(changed, size)).toBeUndefined();
  });

  test("cut off or with a byte changed is not believed, or is the same data and more", () => {
    const whole = parseExtents(printed, size)?.ranges ?? [];
    fc.assert(
      fc.property(fc.nat(printed.length - 1), fc.option(fc.integer({ min: 32, max: 126 })), (place, byte) => {
        const text = byte === null ? printed.slice(0, place) : printed.slice(0, place) + String.fromCharCode(byte) + printed.slice(place + 1);
        const found = parseExtents(text, size);
        if (byte === null) expect(found).toBeUndefined();
        // A digit may become another; but never is a range out of order or outside.
        for (const [i, { start, end }] of (found?.ranges ?? []).entries()) {
          expect(start).toBeGreaterThanOrEqual(i === 0 ? 0 : (found?.ranges[i - 1]?.end ?? 0) + 1);
          expect(end).toBeLessThanOrEqual(size);
        }
        if (found !== undefined) expect(found.ranges.length).toBeGreaterThanOrEqual(1);
        expect(whole.length).toBe(4);
      }),
      { numRuns: 3000 },
    );
  });
});
