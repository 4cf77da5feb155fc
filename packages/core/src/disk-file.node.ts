import { type BigIntStats, closeSync, constants, fstatSync, openSync } from "node:fs";
import { type ByteSource, BytesError, checkRange } from "@imgkit/bytes";
import { readError, readFully } from "@imgkit/bytes/node";
import { nameOfLatin1, systemPath } from "./latin1.node.ts";

// A file may have become a link or a fifo since the scan: do not follow the one, do not wait for a writer of the other.
// Windows has neither flag.
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * A regular file as it was at the time of `seen`: each read opens, reads, compares and closes.
 * @param folder where the tree begins, with a slash at its end: one text for all files of a tree, one character a byte
 * @param path below it, one character a byte
 * @throws BytesError, from `read`: SOURCE_CHANGED when size, mtime or inode differ from `seen`; READ_FAILED (kind system).
 */
export function diskFile(folder: string, path: string, seen: BigIntStats): ByteSource {
  return new DiskFile(folder, path, seen);
}

/** A class and no closures: a tree holds one for each of its files. */
class DiskFile implements ByteSource {
  readonly size: number;
  readonly #folder: string;
  readonly #path: string;
  readonly #mtimeNs: bigint;
  readonly #ino: bigint;
  readonly #dev: bigint;

  constructor(folder: string, path: string, { size, mtimeNs, ino, dev }: BigIntStats) {
    this.size = Number(size);
    this.#folder = folder;
    this.#path = path;
    this.#mtimeNs = mtimeNs;
    this.#ino = ino;
    this.#dev = dev;
  }

  read(start: number, end: number): Uint8Array {
    checkRange(this.size, start, end);
    const out = new Uint8Array(end - start);
    this.readInto(out, start);
    return out;
  }

  readInto(target: Uint8Array, start: number): void {
    checkRange(this.size, start, start + target.length);
    const path = this.#folder + this.#path;
    const fd = open(path);
    try {
      const failure = tryRead(fd, target, start, path);
      // Afterwards, so that a change during the read is seen as well, and told as what it is when it made the read fail.
      const now = fstatSync(fd, { bigint: true });
      if (now.ino !== this.#ino || now.dev !== this.#dev) throw changed(path, "another file stands under its name");
      if (Number(now.size) !== this.size) throw changed(path, "size", `${this.size} bytes`, `${now.size} bytes`);
      if (now.mtimeNs !== this.#mtimeNs) throw changed(path, "mtime", `${this.#mtimeNs} ns`, `${now.mtimeNs} ns`);
      if (failure !== undefined) throw failure;
    } finally {
      closeSync(fd);
    }
  }
}

function open(path: string): number {
  try {
    return openSync(systemPath(path), FLAGS);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") throw changed(path, "it is gone");
    if (code === "ELOOP") throw changed(path, "it is a link now");
    throw readError(nameOfLatin1(path), cause);
  }
}

function tryRead(fd: number, out: Uint8Array, start: number, path: string): unknown {
  try {
    readFully(fd, out, start, nameOfLatin1(path));
    return undefined;
  } catch (error) {
    return error;
  }
}

function changed(path: string, field: string, expected?: string, found?: string): BytesError {
  const facts = expected === undefined || found === undefined ? { found: field } : { field, expected, found };
  const hint = "Do not change a file while imgkit reads it.";
  return new BytesError("SOURCE_CHANGED", "the file changed since its folder was scanned", { path: nameOfLatin1(path), ...facts, hint });
}
