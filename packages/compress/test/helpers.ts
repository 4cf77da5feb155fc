import { execFileSync } from "node:child_process";
import { type ByteStream, collect } from "@imgkit/bytes";
import { CompressError } from "../src/errors.ts";

/** Output of a command that gets `input` on standard input. */
export function pipe(command: string, args: readonly string[], input: Uint8Array): Uint8Array {
  return new Uint8Array(execFileSync(command, args, { input, maxBuffer: 1 << 28, stdio: ["pipe", "pipe", "pipe"] }));
}

/** The bytes in chunks whose sizes are taken from `sizes` in turn (0 gives an empty chunk). */
export function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array, void, undefined> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    yield bytes.slice(at, at + size);
    at += size;
    if (sizes.every((each) => each === 0)) return yield bytes.slice(at);
  }
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Pseudo-random bytes with structure: runs, copies from before and noise, so that every kind of block appears. */
export function sample(size: number, seed = 1): Uint8Array {
  const out = new Uint8Array(size);
  const next = random(seed);
  for (let at = 0; at < size; ) {
    const kind = next(4);
    const length = Math.min(size - at, 1 + next(kind === 0 ? 2000 : 60));
    if (kind === 1 && at > 0) {
      const from = at - 1 - next(Math.min(at, 70_000));
      for (let i = 0; i < length; i++) out[at + i] = out[from + i] as number;
    } else if (kind === 2) out.fill(next(256), at, at + length);
    else for (let i = 0; i < length; i++) out[at + i] = kind === 0 ? 97 + next(20) : next(256);
    at += length;
  }
  return out;
}

/** A generator of integers from 0 to its argument, exclusive; the same sequence for the same seed. */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

export type Outcome = { readonly bytes: Uint8Array } | { readonly code: string; readonly offset: number | bigint | undefined; readonly message: string };

/** What a reader makes of its input: the bytes, or the typed error; any other error is thrown. */
export async function outcome(stream: ByteStream): Promise<Outcome> {
  try {
    return { bytes: await collect(stream) };
  } catch (error) {
    if (error instanceof CompressError) return { code: error.code, offset: error.facts.offset, message: error.message };
    throw error;
  }
}
