// Where parity stands: in a file of its own, behind the tree in the hash file, or behind the data.

import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { createOutput, readError, statPath } from "@imgkit/bytes/node";
import { copyOutside } from "../copy.node.ts";
import { VerityError } from "../errors.ts";
import type { VerityLayout } from "../layout.ts";
import { type FileRange, rangeSource, writeFully } from "../ranges.node.ts";
import { buildFec } from "./build.ts";
import { checkFecOffset, type FecLayout, fecLayout } from "./layout.ts";

/** A file or block device with parity. */
export interface FecFile {
  readonly path: string;
  /** Where the parity starts, in bytes: a multiple of 512; default 0. */
  readonly offset?: number;
  /** Parity bytes of a codeword: 2 to 24; default 2, as veritysetup has it. */
  readonly roots?: number;
}

export interface ParityPlace {
  readonly path: string;
  readonly offset: number;
  readonly layout: FecLayout;
  readonly shares: "hash" | "data" | "nothing";
}

/** Where parity stands, as reports say it. */
export interface PlacedParity {
  readonly layout: FecLayout;
  readonly offset: number;
  /** Whether it is in the hash file. */
  readonly shared: boolean;
}

export function placedParity({ layout, offset, shares }: ParityPlace): PlacedParity {
  return { layout, offset, shared: shares === "hash" };
}

/**
 * Lays out the parity beside data and tree, by veritysetup's rules.
 * @param hashSize size of the hash file.
 * @throws VerityError as `fecLayout`; BAD_FEC_OFFSET; OVERLAP when the parity would stand in the tree or in the data.
 */
export function placeParity(fec: FecFile, tree: VerityLayout, dataPath: string, hashPath: string, hashSize: number): ParityPlace {
  const { path, offset = 0, roots = 2 } = fec;
  checkFecOffset(offset);
  const inHash = isSamePath(path, hashPath);
  const inData = isSamePath(path, dataPath);
  const layout = fecLayout(tree, { roots, hashEnd: inHash ? offset : hashSize });
  const least = Math.max(inHash ? tree.size : 0, inData ? tree.dataSize : 0);
  if (offset < least) {
    throw new VerityError("OVERLAP", `the parity would overwrite the ${inHash ? "tree" : "data"}`, {
      path,
      field: "fecOffset",
      expected: `at least ${least}`,
      found: String(offset),
    });
  }
  return { path, offset, layout, shares: inHash ? "hash" : inData ? "data" : "nothing" };
}

/** What tells two files apart, as `statSync` has it. These types are to need no others. */
interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly rdev: bigint;
  isBlockDevice(): boolean;
}

/** Whether two paths lead to one file, which need not exist yet. */
export function isSamePath(a: string, b: string): boolean {
  const [first, second] = [a, b].map((path) => (statPath(path) === undefined ? undefined : statSync(path, { bigint: true })));
  if (first !== undefined && second !== undefined) return isSameFile(first, second);
  return first === undefined && second === undefined && placeOf(a) === placeOf(b);
}

export function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  if (a.isBlockDevice() && b.isBlockDevice()) return a.rdev === b.rdev;
  return a.dev === b.dev && a.ino === b.ino;
}

function placeOf(path: string): string {
  const folder = dirname(resolve(path));
  return statPath(folder) === undefined ? resolve(path) : join(realpathSync(folder), basename(path));
}

/** Parity that has been written, and is not yet in its place. */
export interface WrittenParity {
  commit(): void;
  abort(): void;
}

/**
 * Computes the parity and writes it. A file of its own appears with `commit`, and keeps what it held around the parity; the others are
 * written in place.
 * @param hash the hash file as far as it is written.
 */
export async function writeParity(
  place: ParityPlace,
  data: FileRange,
  hash: Omit<FileRange, "size">,
  onProgress?: (bytesDone: number, total: number) => void,
): Promise<WrittenParity> {
  const output = await openParity(place, data, hash);
  try {
    // A device has no size of its own here; the layout says what there is of it.
    const { size } = fstatSync(hash.fd);
    const hashSource = rangeSource({ ...hash, size: size > 0 ? size : place.layout.hashStart + place.layout.hashSize });
    await buildFec(rangeSource(data), hashSource, place.layout, (at, bytes) => writeFully(output.fd, place.path, place.offset + at, bytes), {
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    output.sync();
    return output;
  } catch (error) {
    output.abort();
    throw error;
  }
}

interface ParityOutput extends WrittenParity {
  readonly fd: number;
  sync(): void;
}

async function openParity({ path, offset, layout, shares }: ParityPlace, data: FileRange, hash: Omit<FileRange, "size">): Promise<ParityOutput> {
  const nothing = (): void => undefined;
  // Whoever writes the tree there syncs it and puts it into its place.
  if (shares === "hash") return { fd: hash.fd, sync: nothing, commit: nothing, abort: nothing };
  const existing = statPath(path);
  if (shares === "data" || existing?.isBlockDevice() === true) return openInPlace(path, shares === "data" ? data.size : undefined);
  const output = createOutput(path);
  try {
    if (existing?.isFile() === true) {
      const size = await copyOutside(path, output, { start: offset, end: offset + layout.size });
      output.truncate(Math.max(size, offset + layout.size));
    }
    return { fd: output.fd, sync: nothing, commit: () => output.commit(), abort: () => output.abort() };
  } catch (error) {
    output.abort();
    throw error;
  }
}

/** @param size what a file gets back when it failed. */
function openInPlace(path: string, size: number | undefined): ParityOutput {
  const fd = openForUpdate(path);
  const isFile = fstatSync(fd).isFile();
  return {
    fd,
    sync: () => fsyncSync(fd),
    commit: () => closeSync(fd),
    abort() {
      if (isFile && size !== undefined) ftruncateSync(fd, size);
      closeSync(fd);
    },
  };
}

export function openForUpdate(path: string): number {
  try {
    return openSync(path, "r+");
  } catch (cause) {
    throw readError(path, cause);
  }
}
