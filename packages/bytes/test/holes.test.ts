import { execFileSync } from "node:child_process";
import { appendFileSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { long, oracle, oracleRoot, posix } from "../../../test/oracle.ts";
import { fileDataRanges, openFile } from "../src/index.node.ts";
import { type ByteRange, isZero } from "../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-holes-"));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
const fresh = (): string => join(folder, String(count++));

const KIB = 1024;
const MIB = 1024 * KIB;

interface Piece {
  readonly at: number;
  readonly size: number;
  readonly how: "write" | "allocate" | "punch";
}

/** Makes a file with holes. What is written is not synced. */
function make(path: string, fileSize: number, pieces: readonly Piece[]): void {
  writeFileSync(path, "");
  truncateSync(path, fileSize);
  const fd = openSync(path, "r+");
  for (const { at: start, size: length, how } of pieces) {
    const fits = Math.min(length, fileSize - start);
    if (fits <= 0) continue;
    if (how === "write") writeSync(fd, new Uint8Array(fits).fill(1 + (start % 255)), 0, fits, start);
    else execFileSync("fallocate", [how === "punch" ? "--punch-hole" : "--keep-size", "-o", String(start), "-l", String(fits), path]);
  }
  closeSync(fd);
}

function expectZerosBetween(path: string, ranges: readonly ByteRange[]): void {
  const bytes = readFileSync(path);
  let end = 0;
  for (const range of [...ranges, { start: bytes.length, end: bytes.length }]) {
    expect(range.start).toBeGreaterThanOrEqual(end);
    expect(isZero(bytes, end, range.start), `${end} to ${range.start}`).toBe(true);
    end = range.end;
  }
}

const ask = async (path: string, options: Parameters<typeof fileDataRanges>[1] = {}): Promise<readonly ByteRange[] | undefined> => {
  const fd = openSync(path, "r");
  try {
    return await fileDataRanges(fd, { least: 1, ...options });
  } finally {
    closeSync(fd);
  }
};

const extents = oracle("filefrag", "fallocate");

const arbitraryPieces = fc.array(
  fc.record({
    at: fc.integer({ min: 0, max: 24 * MIB }),
    size: fc.oneof(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 1, max: 2 * MIB })),
    how: fc.constantFrom<Piece["how"]>("write", "write", "write", "allocate", "punch"),
  }),
  { maxLength: 12 },
);

/** Makes files at a path and holds their ranges to their bytes; returns of how many the ranges were known. */
async function holdRanges(path: string, numRuns: number): Promise<number> {
  let known = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 24 * MIB }), arbitraryPieces, async (fileSize, pieces) => {
      make(path, fileSize, pieces);
      const ranges = await ask(path);
      if (ranges !== undefined) {
        expectZerosBetween(path, ranges);
        known += 1;
      }
      rmSync(path);
    }),
    { numRuns },
  );
  return known;
}

extents("whatever is written, allocated and punched, all that is not zero is in the ranges, synced or not", async () => {
  // Of a file without holes nobody asks.
  expect(await holdRanges(fresh(), process.env.IMGKIT_LONG === "1" ? 1000 : 60)).toBeGreaterThan(20);
});

const systems: readonly [name: string, tool: string, make: string][] = [
  ["ext4", "mke2fs", "mke2fs -q -t ext4 IMAGE"],
  ["ext4 with data inside of inodes", "mke2fs", "mke2fs -q -t ext4 -O inline_data -I 512 IMAGE"],
  ["XFS", "mkfs.xfs", "mkfs.xfs -q IMAGE"],
  ["btrfs", "mkfs.btrfs", "mkfs.btrfs -q IMAGE"],
];
for (const [name, tool, command] of systems) {
  (process.env.IMGKIT_LONG === "1" ? oracleRoot("filefrag", "fallocate", "mount", "loop", tool) : long())(
    `so it is on ${name}, by itself and under an overlay`,
    async () => {
      const image = fresh();
      writeFileSync(image, "");
      truncateSync(image, 400 * MIB);
      execFileSync("sh", ["-c", command.replace("IMAGE", `'${image}'`)]);
      const [place, over] = [mkdtempSync(join(folder, "disk-")), mkdtempSync(join(folder, "over-"))];
      execFileSync("mount", ["-o", name === "btrfs" ? "loop,compress-force=zstd" : "loop", image, place]);
      try {
        expect(await holdRanges(join(place, "file"), 150)).toBeGreaterThan(20);
        execFileSync("sh", ["-c", `cd '${place}' && mkdir lower upper work && mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work '${over}'`]);
        try {
          expect(await holdRanges(join(over, "file"), 100)).toBeGreaterThan(20);
        } finally {
          execFileSync("umount", [over]);
        }
      } finally {
        execFileSync("umount", [place]);
      }
    },
  );
}

extents("a file's holes are in its ranges as a source, if they are large", async () => {
  const path = fresh();
  make(path, 300 * MIB, [{ at: 100 * MIB, size: MIB, how: "write" }]);
  const file = openFile(path);
  expect(await file.dataRanges()).toEqual([{ start: 100 * MIB - 64 * KIB, end: 101 * MIB + 64 * KIB }]);
  file.close();
  truncateSync(path, 200 * MIB);
  const smaller = openFile(path);
  truncateSync(path, 120 * MIB);
  expect(await smaller.dataRanges()).toEqual([{ start: 0, end: 200 * MIB }]);
  smaller.close();
});

oracleRoot("filefrag", "mount")("on a file system that has no list of extents nobody knows", async () => {
  const place = mkdtempSync(join(folder, "tmpfs-"));
  execFileSync("mount", ["-t", "tmpfs", "none", place]);
  try {
    make(join(place, "file"), 10 * MIB, [{ at: MIB, size: 100, how: "write" }]);
    expect(await ask(join(place, "file"))).toBeUndefined();
  } finally {
    execFileSync("umount", [place]);
  }
});

describe("a program in place of filefrag", () => {
  const script = (text: string): string => {
    const path = fresh();
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return path;
  };
  const sparse = (): string => {
    const path = fresh();
    writeFileSync(path, "");
    truncateSync(path, size);
    return path;
  };
  const size = 1024 * MIB;
  const empty = `Filesystem type is: ef53\nFile size of /proc/self/fd/3 is ${size} (1 block of 4096 bytes)\n/proc/self/fd/3: 0 extents found`;

  posix()("is believed when it says what filefrag says, and is asked only when there are holes enough", async () => {
    const path = sparse();
    const marker = fresh();
    const tool = script(`touch '${marker}'; echo '${empty}'`);
    expect(await ask(path, { tool, least: size + 1 })).toBeUndefined();
    expect(existsSync(marker)).toBe(false);
    expect(await ask(path, { tool, least: size })).toEqual([]);
    expect(existsSync(marker)).toBe(true);
  });

  posix().each([
    ["fails", `echo '${empty}'; exit 1`],
    ["is killed", "kill -9 $$"],
    ["says nothing", "exit 0"],
    ["never stops talking", "yes"],
  ])("that %s is not believed", async (_, text) => {
    expect(await ask(sparse(), { tool: script(text) })).toBeUndefined();
  });

  posix()("that is not there is done without", async () => {
    expect(await ask(sparse(), { tool: join(folder, "none") })).toBeUndefined();
  });

  posix()("that leaves out what the file takes is not believed", async () => {
    const path = sparse();
    const fd = openSync(path, "r+");
    writeSync(fd, new Uint8Array(MIB).fill(1), 0, MIB, 5 * MIB);
    closeSync(fd);
    expect(await ask(path, { tool: script(`echo '${empty}'`) })).toBeUndefined();
  });

  posix()("is not believed when the file is written to meanwhile", async () => {
    const path = sparse();
    expect(await ask(path, { tool: script(`printf x | dd of='${path}' bs=1 seek=5000 conv=notrunc 2>/dev/null; echo '${empty}'`) })).toBeUndefined();
  });

  posix()("that hangs is not waited for", async () => {
    const stop = new AbortController();
    const found = ask(sparse(), { tool: script("exec sleep 100"), signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    expect(await found).toBeUndefined();
    const before = new AbortController();
    before.abort();
    expect(await ask(sparse(), { tool: script(`echo '${empty}'`), signal: before.signal })).toBeUndefined();
  });
});

test("a file that is written to after it was opened is told, one that is only read is not", () => {
  const path = fresh();
  writeFileSync(path, "before");
  const file = openFile(path);
  file.read(0, 6);
  expect(() => file.checkUnchanged()).not.toThrow();
  appendFileSync(path, " and after");
  expect(() => file.checkUnchanged()).toThrow(expect.objectContaining({ code: "SOURCE_CHANGED", message: expect.stringContaining(path) }));
  file.close();
});
