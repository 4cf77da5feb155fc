import { type ByteSource, type ByteStream, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256, openFile } from "@imgkit/bytes/node";
import { pacedStream } from "./turns.ts";

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

/** Of several ranges of one source, which is read once. Offsets and sizes in bytes. */
export async function digestRanges(source: ByteSource, ranges: readonly { readonly offset: number; readonly size: number }[]): Promise<Digested[]> {
  const hashers = ranges.map(() => nativeSha256.create());
  let at = 0;
  for await (const chunk of pacedStream(streamSource(source, 1 << 20))) {
    for (const [i, { offset, size }] of ranges.entries()) {
      const [from, to] = [Math.max(at, offset), Math.min(at + chunk.length, offset + size)];
      if (from < to) hashers[i]?.update(chunk.subarray(from - at, to - at));
    }
    at += chunk.length;
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
