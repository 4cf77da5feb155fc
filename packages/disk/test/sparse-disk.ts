import type { ByteRange, ByteSource } from "@imgkit/bytes";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import type { DiskTarget } from "../src/disk/write.ts";

/** A disk by what stands where in it. */
export interface SparseDisk {
  readonly size: number;
  /** Ascending and disjoint; `text` compresses, the rest is noise. */
  readonly runs: readonly { readonly at: number; readonly length: number; readonly seed: number; readonly text?: boolean }[];
}

function runBytes({ length, seed, text }: SparseDisk["runs"][number]): Uint8Array {
  const bytes = pseudoRandomBytes(seed, length);
  return text === true ? bytes.map((byte) => 0x61 + (byte % 4)) : bytes;
}

/** The disk as a source; with `holes` it knows where they are. */
export function sparseSource({ size, runs }: SparseDisk, holes = true): ByteSource {
  const made = runs.map((run) => ({ at: run.at, bytes: runBytes(run) }));
  const source: ByteSource = {
    size,
    read(start, end) {
      const out = new Uint8Array(end - start);
      for (const { at, bytes } of made) {
        const [from, to] = [Math.max(at, start), Math.min(at + bytes.length, end)];
        if (from < to) out.set(bytes.subarray(from - at, to - at), from - start);
      }
      return out;
    },
  };
  if (!holes) return source;
  return { ...source, dataRanges: (): ByteRange[] => made.map(({ at, bytes }) => ({ start: at, end: at + bytes.length })) };
}

/** A target in memory. */
export function memoryTarget(): DiskTarget & { bytes(): Uint8Array } {
  let bytes = new Uint8Array(1 << 16);
  let end = 0;
  const room = (size: number): void => {
    end = Math.max(end, size);
    if (size <= bytes.length) return;
    const grown = new Uint8Array(Math.max(size, 2 * bytes.length));
    grown.set(bytes);
    bytes = grown;
  };
  return {
    writeAt(at, chunk) {
      room(at + chunk.length);
      bytes.set(chunk, at);
    },
    truncate(size) {
      room(size);
      end = size;
    },
    bytes: () => bytes.subarray(0, end),
  };
}

/** What a writer makes, in memory. */
export async function inMemory(write: (target: DiskTarget) => Promise<unknown>): Promise<Uint8Array> {
  const target = memoryTarget();
  await write(target);
  return target.bytes();
}
