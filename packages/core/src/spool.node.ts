import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { ByteStream } from "@imgkit/bytes";
import { type ByteSource, checkRange } from "@imgkit/bytes";
import { readFully } from "@imgkit/bytes/node";
import { CoreError } from "./errors.ts";

/** A source that holds a temporary file until `close`. */
export interface SpooledSource extends ByteSource {
  close(): void;
}

/**
 * Writes a stream to a nameless temporary file in `folder` and gives random access to it. The name is gone before the first
 * byte is written, so that not even a killed process leaves anything behind (on Windows it goes with `close`).
 * @throws CoreError SOURCE_FAILED (kind system) when the folder is full or cannot be written; whatever the stream throws.
 */
export async function spoolStream(stream: ByteStream, folder: string): Promise<SpooledSource> {
  const { fd, discard } = openNameless(folder);
  let size = 0;
  try {
    for await (const chunk of stream) {
      for (let done = 0; done < chunk.length; ) done += write(fd, chunk, done, size + done, folder);
      size += chunk.length;
    }
  } catch (cause) {
    closeSync(fd);
    discard();
    throw cause;
  }
  let open = true;
  return {
    size,
    read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      readFully(fd, out, start, "temporary file");
      return out;
    },
    close() {
      if (open) closeSync(fd);
      open = false;
      discard();
    },
  };
}

function openNameless(folder: string): { fd: number; discard(): void } {
  let place: string;
  let fd: number;
  try {
    place = mkdtempSync(join(folder, "imgkit-"));
    fd = openSync(join(place, "spool"), "wx+", 0o600);
  } catch (cause) {
    throw spoolError(folder, cause);
  }
  const discard = (): void => rmSync(place, { recursive: true, force: true });
  try {
    discard();
  } catch {
    // Windows keeps an open file's name: it goes when the source is closed.
  }
  return { fd, discard };
}

function write(fd: number, chunk: Uint8Array, from: number, at: number, folder: string): number {
  try {
    return writeSync(fd, chunk, from, chunk.length - from, at);
  } catch (cause) {
    throw spoolError(folder, cause);
  }
}

function spoolError(folder: string, cause: unknown): CoreError {
  return new CoreError(
    "SOURCE_FAILED",
    `a temporary file cannot be written: ${(cause as Error).message}`,
    { path: folder, cause, hint: "Point TMPDIR at a folder with enough space." },
    "system",
  );
}
