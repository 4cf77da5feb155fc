import { type ByteSource, type ByteStream, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256, openFile, readFully } from "@imgkit/bytes/node";
import { pacedStream, turns } from "./turns.ts";

/** Bytes that are read at a time: they fit the second-level cache. */
const CHUNK = 256 * 1024;

/** What was read or written, as a record and `--json` name it. */
export interface Digested {
  /** `sha256:` and 64 lowercase hexadecimal digits. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** Passes a stream through and knows its digest and size once it has ended. */
export function digesting(stream: ByteStream): { stream: AsyncGenerator<Uint8Array, void, undefined>; result(): Digested } {
  const hasher = nativeSha256.create();
  let size = 0;
  async function* pass(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of pacedStream(stream)) {
      hasher.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  }
  return { stream: pass(), result: () => ({ digest: `sha256:${toHex(hasher.digest())}`, size }) };
}

export async function digestStream(stream: ByteStream): Promise<Digested> {
  const pass = digesting(stream);
  for await (const _chunk of pass.stream);
  return pass.result();
}

export async function digestSource(source: ByteSource): Promise<Digested> {
  return digestStream(streamSource(source, 1 << 20));
}

/** Of several ranges of an open file, which is read once, into one array. Offsets and sizes in bytes. */
export async function digestRanges(
  { fd, path, size: end }: { readonly fd: number; readonly path: string; readonly size: number },
  ranges: readonly { readonly offset: number; readonly size: number }[],
): Promise<Digested[]> {
  const hashers = ranges.map(() => nativeSha256.create());
  const turn = turns();
  const buffer = new Uint8Array(CHUNK);
  for (let at = 0; at < end; at += CHUNK) {
    const chunk = buffer.subarray(0, Math.min(CHUNK, end - at));
    readFully(fd, chunk, at, path);
    for (const [i, { offset, size }] of ranges.entries()) {
      const [from, to] = [Math.max(at, offset), Math.min(at + chunk.length, offset + size)];
      if (from < to) hashers[i]?.update(chunk.subarray(from - at, to - at));
    }
    await turn(chunk.length);
  }
  return ranges.map(({ size }, i) => ({ digest: `sha256:${toHex(hashers[i]?.digest() ?? new Uint8Array(0))}`, size }));
}

/** Of a file or block device by its path. */
export async function digestPath(path: string): Promise<Digested> {
  const file = openFile(path);
  try {
    return await digestSource(file);
  } finally {
    file.close();
  }
}
