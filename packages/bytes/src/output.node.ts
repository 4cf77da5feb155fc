import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { BytesError } from "./errors.ts";
import { type PathStat, statPath } from "./file.node.ts";
import { writeStream } from "./output-stream.node.ts";
import type { ByteStream } from "./source.ts";

/**
 * A file that appears whole or not at all: it is written beside its place under a temporary name, synced, and renamed
 * by `commit`. Until then, and after `abort`, nothing stands under the final name but what stood there before.
 */
export interface OutputFile {
  /** The final path. */
  readonly path: string;
  /** The open descriptor of the temporary file (readable and writable). */
  readonly fd: number;
  /** Writes all bytes at byte offset `at`. Ranges never written read as zeros and take no space (a hole). */
  writeAt(at: number, bytes: Uint8Array): void;
  /** Appends after the last appended byte. */
  append(bytes: Uint8Array): void;
  /**
   * Appends a stream; returns its size in bytes. With `used`, other threads write while the stream makes more, and large files get to the
   * disk on the way: a chunk must stay as it is until `used` is called with it. Without it a chunk is written before the next is asked for.
   */
  appendStream(stream: ByteStream, used?: (chunk: Uint8Array) => void): Promise<number>;
  /** Sets the size in bytes; what is new reads as zeros. */
  truncate(size: number): void;
  /**
   * Syncs and renames to the final path. `as` is another final path on the same file system, for a file whose name is known only
   * when it is complete (a blob named by its digest); what stands there is replaced, a symbolic link too.
   */
  commit(as?: string): void;
  /** Removes the temporary file. Safe to call again, and after `commit` (then it does nothing). */
  abort(): void;
}

const pending = new Set<string>();

/** Removes the temporary files and folders of all outputs that were neither committed nor aborted: for signal handlers. */
export function abortPendingOutputs(): void {
  for (const path of pending) rmSync(path, { force: true, recursive: true });
  pending.clear();
}

/** Has `abortPendingOutputs` remove a path too, until the function that is returned is called. */
export function removeOnAbort(path: string): () => void {
  pending.add(path);
  return () => pending.delete(path);
}

/**
 * Starts an output. Where a file is replaced, its permissions stay, and its owner if the host lets them.
 * @throws BytesError OUTPUT_FAILED: kind input when the folder does not exist or the path names a folder, kind system when
 * the host refuses (read-only, full, not permitted).
 */
export function createOutput(path: string): OutputFile {
  const existing = statPath(path);
  if (existing?.isDirectory()) {
    throw new BytesError("OUTPUT_FAILED", "a folder stands where the output belongs", { path, hint: "Name a file." });
  }
  // A device or fifo (/dev/null, /dev/stdout) is written to, never replaced.
  const place = existing !== undefined && !existing.isFile() ? directPlace(path) : stagedPlace(path, existing === undefined ? path : realpathSync(path));
  const { fd } = place;
  if (place.seekable && existing !== undefined) keepAccess(fd, existing);
  let end = 0;
  const guard = <T>(job: () => T): T => {
    try {
      return job();
    } catch (cause) {
      throw outputError(path, cause);
    }
  };
  const write = (at: number | null, bytes: Uint8Array): void =>
    guard(() => {
      let done = 0;
      while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, at === null ? null : at + done);
    });
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  return {
    path,
    fd,
    writeAt: write,
    append(bytes) {
      write(place.seekable ? end : null, bytes);
      end += bytes.length;
    },
    async appendStream(stream, used) {
      const failed = (cause: unknown): BytesError => outputError(path, cause);
      const size = await writeStream({ fd, at: place.seekable ? end : null, failed }, stream, used);
      end += size;
      return size;
    },
    truncate: (size) => guard(() => ftruncateSync(fd, size)),
    commit(as) {
      guard(() => {
        if (place.seekable) fsyncSync(fd);
        close();
        place.commit(as);
      });
    },
    abort() {
      close();
      place.abort();
    },
  };
}

/** What replaces a file is open to no more readers than the file was. */
function keepAccess(fd: number, { mode, uid, gid }: PathStat): void {
  fchmodSync(fd, mode & 0o777);
  try {
    fchownSync(fd, uid, gid);
  } catch {
    // Only root gives files away; one's own file is one's own already.
  }
}

interface Place {
  readonly fd: number;
  readonly seekable: boolean;
  commit(as?: string): void;
  abort(): void;
}

function directPlace(path: string): Place {
  try {
    return { fd: openSync(path, "w"), seekable: false, commit() {}, abort() {} };
  } catch (cause) {
    throw outputError(path, cause);
  }
}

function stagedPlace(path: string, final: string): Place {
  const folder = stage(path, final);
  const temporary = join(folder, basename(final));
  try {
    const fd = openSync(temporary, "wx+");
    return {
      fd,
      seekable: true,
      commit(as = final) {
        renameSync(temporary, as);
        syncFolder(dirname(as));
        discard(folder);
      },
      abort: () => discard(folder),
    };
  } catch (cause) {
    discard(folder);
    throw outputError(path, cause);
  }
}

/** A new folder that appears whole or not at all. */
export interface OutputFolder {
  /** Where to write until `commit`. */
  readonly temporary: string;
  commit(): void;
  abort(): void;
}

/**
 * Starts a folder.
 * @throws BytesError OUTPUT_FAILED when something other than an empty folder stands there, else as `createOutput`.
 */
export function createOutputFolder(path: string): OutputFolder {
  const folder = stage(path, path);
  const temporary = join(folder, basename(path));
  try {
    makeFolder(temporary);
  } catch (error) {
    discard(folder);
    throw error;
  }
  return {
    temporary,
    commit() {
      try {
        // rename(2) itself replaces an empty folder and refuses any other.
        renameSync(temporary, path);
        syncFolder(dirname(path));
      } catch (cause) {
        throw outputError(path, cause);
      }
      discard(folder);
    },
    abort: () => discard(folder),
  };
}

/**
 * Makes a folder, and those above it that are missing; one that is there is fine.
 * @throws BytesError OUTPUT_FAILED when the host refuses, of a kind as `outputError` gives it.
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw outputError(path, cause);
  }
}

/** Writes a stream to a file that appears whole or not at all; returns its size in bytes. */
export async function writeFileAtomic(path: string, stream: ByteStream): Promise<number> {
  const output = createOutput(path);
  try {
    const size = await output.appendStream(stream);
    output.commit();
    return size;
  } finally {
    output.abort();
  }
}

function shellWord(text: string): string {
  return /^[\w./+:@%-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// A folder of our own beside the final place: on the same file system, so that the rename is atomic, with a name that no other run has.
function stage(path: string, final: string): string {
  const parent = dirname(final);
  if (!existsSync(parent)) {
    throw new BytesError("OUTPUT_FAILED", "the output's folder does not exist", {
      path,
      expected: `a folder ${parent}`,
      hint: `Create it: mkdir -p ${shellWord(parent)}`,
    });
  }
  try {
    const folder = mkdtempSync(join(parent, `.${basename(final).slice(0, 100)}.imgkit-`));
    pending.add(folder);
    return folder;
  } catch (cause) {
    throw outputError(path, cause);
  }
}

function discard(folder: string): void {
  rmSync(folder, { force: true, recursive: true });
  pending.delete(folder);
}

function syncFolder(path: string): void {
  // Windows cannot open a folder; there the rename itself is durable enough.
  if (process.platform === "win32") return;
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const causes: Readonly<Record<string, readonly [sentence: string, hint: string]>> = {
  ENOSPC: ["no space left on the device", "Free some space or write elsewhere; nothing was left behind."],
  EDQUOT: ["the disk quota is used up", "Free some space or write elsewhere; nothing was left behind."],
  EACCES: ["permission denied", "Write to a folder that you may write to."],
  EPERM: ["operation not permitted", "Write to a folder that you may write to."],
  EROFS: ["the file system is read-only", "Write to a folder that you may write to."],
  ENOTEMPTY: ["a folder that is not empty stands there", "Name a new folder, or remove this one."],
  EEXIST: ["a folder that is not empty stands there", "Name a new folder, or remove this one."],
  ENOTDIR: ["a file stands where a folder belongs", "Name another path."],
  EFBIG: ["the file would be too large for the file system", "Write to another file system."],
};

// What the path itself is to blame for, as against the host.
const inputCauses = new Set(["ENOTDIR", "ENOTEMPTY", "EEXIST", "EISDIR", "ENAMETOOLONG", "ELOOP"]);

/** The typed error for a failed write, sync or rename of `path`. */
export function outputError(path: string, cause: unknown): BytesError {
  const code = (cause as NodeJS.ErrnoException).code ?? "";
  const known = causes[code];
  const sentence = `cannot be written: ${known?.[0] ?? (cause as Error).message}`;
  return new BytesError(
    "OUTPUT_FAILED",
    sentence,
    { path, cause, ...(known === undefined ? {} : { hint: known[1] }) },
    inputCauses.has(code) ? "input" : "system",
  );
}
