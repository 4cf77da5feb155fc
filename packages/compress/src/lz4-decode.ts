// Decodes an LZ4 block (lz4_Block_format.md of the LZ4 project) into an array whose size is known, as EROFS knows it.

import { CompressError } from "./errors.ts";

/** The format's rules for a block's end: so many bytes are literals, and the last match begins so many before the end. */
const LAST_LITERALS = 5;
const LAST_MATCH = 12;

/**
 * Decodes a whole block that holds exactly `target.length` bytes. Takes the time of reading the one and filling the other, and no memory.
 * @throws CompressError CORRUPT, with the offset in the block, for one that ends early or late, reaches back before its beginning, or
 * breaks the format's rules for its end. The target may then be filled in part.
 */
export function decodeLz4(block: Uint8Array, target: Uint8Array): void {
  decode(block, target, true);
}

/**
 * Decodes the beginning of a block: as many bytes as `target` has. What follows them in the block is not looked at.
 * @throws CompressError CORRUPT as `decodeLz4`, also when the block holds fewer bytes.
 */
export function decodeLz4Start(block: Uint8Array, target: Uint8Array): void {
  decode(block, target, false);
}

function decode(block: Uint8Array, target: Uint8Array, whole: boolean): void {
  const { length: size } = target;
  let out = 0;
  for (let at = 0; ; ) {
    if (at >= block.length) throw tooShort(at, size, out);
    const token = block[at] as number;
    const literals = lengthAt(block, at + 1, token >> 4);
    if (whole && literals.length > size - out) throw corrupt(at, "an LZ4 block that holds too many bytes", `${size}`, `at least ${out + literals.length}`);
    const taken = Math.min(literals.length, size - out);
    at = literals.end + taken;
    if (at > block.length) throw tooShort(block.length, size, out);
    copyLiterals(target, out, block, literals.end, taken);
    out += taken;
    if (out === size && (!whole || at === block.length)) return;
    if (at + 2 > block.length) throw tooShort(at, size, out);
    const distance = (block[at] as number) | ((block[at + 1] as number) << 8);
    if (distance === 0 || distance > out) throw corrupt(at, "a match that reaches back too far in an LZ4 block", `1 to ${out}`, `${distance}`);
    const match = lengthAt(block, at + 2, token & 15);
    const length = 4 + match.length;
    if (whole && (out > size - LAST_MATCH || length > size - LAST_LITERALS - out))
      throw corrupt(at, "a match too near the end of an LZ4 block", `one that ends before byte ${size - LAST_LITERALS}`, `${out + length}`);
    out = copyMatch(target, out, distance, Math.min(length, size - out));
    if (out === size) return;
    at = match.end;
  }
}

/** A length, of which the token has four bits: 15 goes on in the bytes from `start` on. */
function lengthAt(block: Uint8Array, start: number, bits: number): { readonly length: number; readonly end: number } {
  if (bits < 15) return { length: bits, end: start };
  let length = 15;
  for (let at = start; at < block.length; at++) {
    const byte = block[at] as number;
    length += byte;
    if (byte < 255) return { length, end: at + 1 };
  }
  throw corrupt(block.length, "an LZ4 block that ends within a length", "a further byte", "the end");
}

// Most are short: a loop is faster for them than a call.
const SHORT = 32;

function copyLiterals(target: Uint8Array, out: number, block: Uint8Array, from: number, count: number): void {
  if (count > SHORT) target.set(block.subarray(from, from + count), out);
  else for (let i = 0; i < count; i++) target[out + i] = block[from + i] as number;
}

/** Repeats what stands `distance` bytes back, which may overlap what is written; gives where the copy ends. */
function copyMatch(target: Uint8Array, out: number, distance: number, length: number): number {
  const end = out + length;
  if (distance === 1) target.fill(target[out - 1] as number, out, end);
  else if (distance >= length && length > SHORT) target.copyWithin(out, out - distance, end - distance);
  else for (let at = out; at < end; at++) target[at] = target[at - distance] as number;
  return end;
}

function tooShort(at: number, size: number, out: number): CompressError {
  return corrupt(at, "an LZ4 block that ends too early", `${size} bytes from it`, `${out}`);
}

function corrupt(offset: number, sentence: string, expected: string, found: string): CompressError {
  return new CompressError("CORRUPT", sentence, { offset, expected, found });
}
