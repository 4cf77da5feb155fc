import { type BigIntStats, closeSync, constants, fstatSync, openSync } from "node:fs";
import { type ByteSource, BytesError, checkRange } from "@imgkit/bytes";
import { readError, readFully } from "@imgkit/bytes/node";
import { nameOfLatin1, systemPath } from "./latin1.node.ts";

// A file may have become a link or a fifo since the scan: do not follow the one, do not wait for a writer of the other.
// Windows has neither flag.
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * A regular file as it was at the time of `seen`: each read opens, reads, compares and closes.
 * @param path one character a byte
 * @throws BytesError, from `read`: SOURCE_CHANGED when size, mtime or inode differ from `seen`; READ_FAILED (kind system).
 */
export function diskFile(path: string, seen: BigIntStats): ByteSource {
  const size = Number(seen.size);
  const { mtimeNs, ino, dev } = seen;
  const readInto = (target: Uint8Array, start: number): void => {
    checkRange(size, start, start + target.length);
    const fd = open(path);
    try {
      const failure = tryRead(fd, target, start, nameOfLatin1(path));
      // Afterwards, so that a change during the read is seen as well, and told as what it is when it made the read fail.
      const now = fstatSync(fd, { bigint: true });
      if (now.ino !== ino || now.dev !== dev) throw changed(path, "another file stands under its name");
      if (now.size !== BigInt(size)) throw changed(path, "size", `${size} bytes`, `${now.size} bytes`);
      if (now.mtimeNs !== mtimeNs) throw changed(path, "mtime", `${mtimeNs} ns`, `${now.mtimeNs} ns`);
      if (failure !== undefined) throw failure;
    } finally {
      closeSync(fd);
    }
  };
  return {
    size,
    readInto,
    read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      readInto(out, start);
      return out;
    },
  };
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
    readFully(fd, out, start, path);
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
