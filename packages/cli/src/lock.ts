import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { readError, statPath } from "@imgkit/bytes/node";
import { type Lock, parseLock } from "@imgkit/core";

/**
 * The lock in a file, or undefined for a file that is something else: a lock starts with a brace, which no tar or file system does.
 * @throws CoreError BAD_LOCK; BytesError NOT_FOUND, READ_FAILED.
 */
export function readLock(path: string): Lock | undefined {
  // Opening a fifo would wait for its writer.
  if (statPath(path)?.isFile() !== true) return undefined;
  try {
    if (firstByte(path) !== 0x7b) return undefined;
    return parseLock(readFileSync(path, "utf8"), path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).syscall !== undefined) throw readError(path, cause);
    throw cause;
  }
}

function firstByte(path: string): number | undefined {
  const fd = openSync(path, "r");
  try {
    const byte = new Uint8Array(1);
    return readSync(fd, byte, 0, 1, 0) === 1 ? byte[0] : undefined;
  } finally {
    closeSync(fd);
  }
}
