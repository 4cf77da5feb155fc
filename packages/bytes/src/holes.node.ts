// Where a sparse file holds data. Node has no SEEK_HOLE; on Linux `filefrag` of e2fsprogs asks the file system (FIEMAP). It is the only
// program that this package starts, by its full path, and it gets the open file itself: no name is looked up twice.

import type { ChildProcess } from "node:child_process";
import { existsSync, fstatSync } from "node:fs";
import type { ByteRange } from "./source.ts";

const places = ["/usr/sbin/filefrag", "/sbin/filefrag", "/usr/bin/filefrag"];

/** Asking takes some 10 ms; reading so many zeros takes longer. */
const worthwhile = 128 * 1024 * 1024;

/** A list of extents that is longer than this is not waited for. */
const mostText = 16 * 1024 * 1024;

/** Milliseconds: the file's data that are still in memory are written before the list is made. */
const patience = 10_000;

/** What an extent is widened to on both sides: whatever rounding a file system does to what it reports is smaller. */
const grain = 64 * 1024;

/** The file systems that say the truth about their extents, by the magic numbers of statfs(2): ext2 to ext4, XFS, btrfs, and overlays. */
const known = new Set(["ef53", "58465342", "9123683e", "794c7630"]);

/** As much of `AbortSignal` as is needed, so that these types need no others. */
interface StopSignal {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
}

export interface FileRangesOptions {
  /** An `AbortSignal` that ends the search: it then resolves to undefined. */
  readonly signal?: StopSignal;
  /** Least number of bytes in holes that is worth the search; default 128 MiB. */
  readonly least?: number;
  /** The program to ask; default: filefrag where distributions have it. */
  readonly tool?: string;
}

/**
 * The ranges of an open regular file that may hold anything but zeros: ascending and disjoint. Resolves to undefined when nobody knows, or
 * when it is not worth asking: on other systems than Linux, for a file with few holes, without filefrag, on a file system that has no such
 * list. Whoever gets undefined reads everything. What was written before the call is in the ranges (it is synced), also what was only allocated.
 */
export async function fileDataRanges(fd: number, options: FileRangesOptions = {}): Promise<readonly ByteRange[] | undefined> {
  const { signal, least = worthwhile, tool = places.find((path) => existsSync(path)) } = options;
  if (process.platform !== "linux" || tool === undefined) return undefined;
  const before = fstatSync(fd, { bigint: true });
  if (!before.isFile() || before.size - before.blocks * 512n < BigInt(Math.max(1, least))) return undefined;
  const text = await ask(tool, fd, signal);
  if (text === undefined || signal?.aborted) return undefined;
  const after = fstatSync(fd, { bigint: true });
  // What was written meanwhile may be in the list or not.
  if (!sameContent(before, after) || before.ctimeNs !== after.ctimeNs) return undefined;
  const found = parseExtents(text, Number(after.size));
  // The list is believed when it accounts for what the file takes; the file system's own blocks for it are a small part of that.
  if (found === undefined || found.listed < Number(after.blocks) * 512 * (15 / 16) - grain) return undefined;
  return found.ranges;
}

interface Look {
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

/** Whether a file was not written to between two looks at it. */
export function sameContent(a: Look, b: Look): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs;
}

/** What filefrag prints, or undefined when it fails. */
async function ask(tool: string, fd: number, signal: StopSignal | undefined): Promise<string | undefined> {
  // Here, as most runs do without it, and loading it takes a millisecond or two.
  const { spawn } = await import("node:child_process");
  if (signal?.aborted) return undefined;
  let child: ChildProcess;
  try {
    child = spawn(tool, ["-s", "-e", "/proc/self/fd/3"], { stdio: ["ignore", "pipe", "ignore", fd], env: { LC_ALL: "C" }, timeout: patience });
  } catch {
    // A process that may not start others.
    return undefined;
  }
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    // One that was told to end may hang in the file system for a while: nobody waits for it.
    const leave = (): void => {
      child.kill("SIGKILL");
      child.unref();
      child.stdout?.destroy();
      resolve(undefined);
    };
    child.once("error", leave);
    signal?.addEventListener("abort", leave);
    child.once("close", (code) => resolve(code === 0 ? Buffer.concat(chunks).toString("latin1") : undefined));
    child.stdout?.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > mostText) leave();
    });
  });
}

const headLine = /^Filesystem type is: ([0-9a-f]+)$/;
const sizeLine = /^File size of \/proc\/self\/fd\/3 is (\d+) \((\d+) blocks? of (\d+) bytes\)$/;
const titleLine = / ext: +logical_offset: +physical_offset: length: +expected: flags:$/;
const extentLine = /^ *(\d+): +(\d+)\.\. *(\d+): +\d+\.\. *\d+: +(\d+): +(?:\d+: *)?([a-z_,0-9x]*) *$/;
const lastLine = /^\/proc\/self\/fd\/3: (\d+) extents? found$/;

/**
 * Reads what `filefrag -e` has printed of a file of `size` bytes: its data, widened and clipped, and how many bytes it lists. Undefined
 * when a line is not exactly as expected.
 */
export function parseExtents(text: string, size: number): { readonly ranges: readonly ByteRange[]; readonly listed: number } | undefined {
  const lines = text.split("\n");
  if (lines.pop() !== "") return undefined;
  const type = headLine.exec(lines[0] ?? "")?.[1];
  const [, bytes, , blockText] = sizeLine.exec(lines[1] ?? "") ?? [];
  const block = Number(blockText);
  if (type === undefined || !known.has(type) || Number(bytes) !== size || !(block >= 512 && block <= 65536)) return undefined;
  if (!lastLine.test(lines.at(-1) ?? "")) return undefined;
  // Of a file without extents there is no table.
  if (lines.length === 3) return / 0 extents/.test(lines[2] ?? "") ? { ranges: [], listed: 0 } : undefined;
  if (!titleLine.test(lines[2] ?? "")) return undefined;
  return readTable(lines.slice(3, -1), block, size);
}

function readTable(rows: readonly string[], block: number, size: number): { ranges: ByteRange[]; listed: number } | undefined {
  const ranges: { start: number; end: number }[] = [];
  let listed = 0;
  let next = 0;
  for (const [i, row] of rows.entries()) {
    const [, number, first, last, length, flags] = extentLine.exec(row) ?? [];
    if (Number(number) !== i || Number(first) < next || Number(last) < Number(first)) return undefined;
    // Only the list's end says that it is whole.
    if (flags?.split(",").includes("last") !== (i === rows.length - 1)) return undefined;
    next = Number(last) + 1;
    listed += Math.max(Number(length), next - Number(first)) * block;
    const start = Math.max(0, Math.floor((Number(first) * block) / grain - 1) * grain);
    const end = Math.min(size, Math.ceil((next * block) / grain + 1) * grain);
    const before = ranges.at(-1);
    if (before !== undefined && start <= before.end) before.end = Math.max(before.end, end);
    else if (start < end) ranges.push({ start, end });
  }
  return rows.length === 0 ? undefined : { ranges, listed };
}
