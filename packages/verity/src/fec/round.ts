// One round: `blockSize` codewords that share their blocks, one block of each column.

import type { ByteSource } from "@imgkit/bytes";
import type { MessageBlocks, Verdict } from "./blocks.ts";
import { decodeDifference, syndromesOf } from "./decode.ts";
import { locateCommon } from "./locate.ts";
import { type Columns, compareCodewords, type FecMessage, readPadded } from "./message.ts";

// Codewords whose errors are looked for together: each gives an equation or more for the at most 23 unknowns.
const enough = 64;
// Decodings of a round in one repair that are tried for no better reason than that they might be right.
const mostGuesses = 256;

export class RoundRepair {
  readonly #message: FecMessage;
  readonly #blocks: MessageBlocks;
  readonly #parity: ByteSource;
  readonly #write: (number: number, bytes: Uint8Array) => Promise<void>;
  readonly #columns: Columns;
  readonly #stored: Uint8Array;
  #guesses = mostGuesses;

  constructor(message: FecMessage, columns: Columns, blocks: MessageBlocks, parity: ByteSource, write: (number: number, bytes: Uint8Array) => Promise<void>) {
    this.#message = message;
    this.#blocks = blocks;
    this.#parity = parity;
    this.#write = write;
    this.#columns = columns;
    this.#stored = new Uint8Array(this.#columns.width * message.layout.roots);
  }

  /**
   * Replaces every bad block of a round that can be had; returns whether none is left. Levels above `level` have been looked at.
   * Blocks below may be wrong without our knowing: they are tried as erasures, as errors, and where a burst or the codewords together place them.
   */
  async repair(round: number, level: number): Promise<boolean> {
    for (;;) {
      const verdicts = await this.#verdicts(round, level);
      const bad = columnsOf(verdicts, "bad");
      if (bad.length === 0) return true;
      let progress = 0;
      for await (const erasures of this.#attempts(round, bad, columnsOf(verdicts, "suspect"))) {
        progress = await this.#attempt(round, bad, erasures);
        if (progress > 0) break;
      }
      // Each block that is right again is one erasure less for the others.
      if (progress === 0) return false;
    }
  }

  /** What may be taken for erasures, the likeliest first. */
  async *#attempts(round: number, bad: readonly number[], suspects: readonly number[]): AsyncGenerator<readonly number[]> {
    const { roots, columns } = this.#message.layout;
    if (bad.length <= roots) yield bad;
    if (suspects.length > 0 && bad.length + suspects.length <= roots) yield [...bad, ...suspects];
    yield [];
    if (bad.length >= roots) return;
    const located = locateCommon(await this.#syndromes(round), bad);
    if (located !== undefined && bad.length + located.length <= roots) yield [...bad, ...located.filter((column) => !bad.includes(column))];
    if (suspects.length === 0) return;
    // At the very limit nothing is left that tells the places: they are guessed, and the hash decides.
    const [first = 0, last = 0] = [bad[0], bad.at(-1)];
    for (let start = Math.max(0, last - roots + 1); start <= first && start + roots <= columns; start++) {
      if (this.#guesses-- > 0) yield Array.from({ length: roots }, (_, i) => start + i);
    }
    if (bad.length === roots - 1) for (const suspect of suspects) if (this.#guesses-- > 0) yield [...bad, suspect];
  }

  /** Of so many codewords of a round that have errors as it takes to place these. */
  async #syndromes(round: number): Promise<Uint8Array[]> {
    const found: Uint8Array[] = [];
    await this.#differences(round, (_, difference) => {
      if (found.length < enough) found.push(syndromesOf(difference));
    });
    return found;
  }

  #number(round: number, column: number): number {
    return column * this.#message.layout.rounds + round;
  }

  async #verdicts(round: number, level: number): Promise<Verdict[]> {
    const { columns, blocks, blockSize } = this.#message.layout;
    const bytes = new Uint8Array(blockSize);
    const verdicts: Verdict[] = [];
    for (let column = 0; column < columns && this.#number(round, column) < blocks; column++) {
      const number = this.#number(round, column);
      await this.#message.readInto(bytes, number * blockSize);
      verdicts.push(await this.#blocks.verdict(number, bytes, level));
    }
    return verdicts;
  }

  /** Decodes the round and writes those of the bad blocks that have the right hash then; returns how many. */
  async #attempt(round: number, bad: readonly number[], erasures: readonly number[]): Promise<number> {
    const { blockSize } = this.#message.layout;
    const found = new Map<number, Uint8Array>();
    for (const column of bad) {
      const bytes = new Uint8Array(blockSize);
      await this.#message.readInto(bytes, this.#number(round, column) * blockSize);
      found.set(column, bytes);
    }
    await this.#decode(round, erasures, found);
    let written = 0;
    for (const [column, bytes] of found) {
      const number = this.#number(round, column);
      const place = this.#blocks.placeOf(number);
      if (place === undefined || !(await this.#blocks.matches(place, bytes))) continue;
      await this.#write(number, bytes);
      written += 1;
    }
    return written;
  }

  /** Applies to `found`, blocks by column, what decoding says. */
  async #decode(round: number, erasures: readonly number[], found: ReadonlyMap<number, Uint8Array>): Promise<void> {
    await this.#differences(round, (codeword, difference) => {
      for (const { position, value } of decodeDifference(difference, erasures) ?? []) {
        const bytes = found.get(position);
        if (bytes !== undefined) bytes[codeword] = (bytes[codeword] as number) ^ value;
      }
    });
  }

  /** Calls `each` for the codewords of a round that do not fit their parity, counted from its first. */
  async #differences(round: number, each: (codeword: number, difference: Uint8Array) => void): Promise<void> {
    const { blockSize, roots } = this.#message.layout;
    for (let at = 0; at < blockSize; at += this.#columns.width) {
      const first = round * blockSize + at;
      const width = Math.min(this.#columns.width, blockSize - at);
      const computed = await this.#columns.parity(first, width);
      const stored = this.#stored.subarray(0, width * roots);
      await readPadded(this.#parity, stored, first * roots);
      compareCodewords(computed, stored, roots, (w, difference) => each(at + w, difference));
    }
  }
}

function columnsOf(verdicts: readonly Verdict[], wanted: Verdict): number[] {
  return verdicts.flatMap((verdict, column) => (verdict === wanted ? [column] : []));
}
