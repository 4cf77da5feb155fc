// One round: `blockSize` codewords that share their blocks, one block of each column.

import type { ByteSource } from "@imgkit/bytes";
import type { MessageBlocks, Verdict } from "./blocks.ts";
import { decodeDifference } from "./decode.ts";
import { Columns, compareCodewords, type FecMessage, readPadded } from "./message.ts";

export class RoundRepair {
  readonly #message: FecMessage;
  readonly #blocks: MessageBlocks;
  readonly #parity: ByteSource;
  readonly #write: (number: number, bytes: Uint8Array) => Promise<void>;
  readonly #columns: Columns;
  readonly #stored: Uint8Array;

  constructor(message: FecMessage, blocks: MessageBlocks, parity: ByteSource, write: (number: number, bytes: Uint8Array) => Promise<void>) {
    this.#message = message;
    this.#blocks = blocks;
    this.#parity = parity;
    this.#write = write;
    this.#columns = new Columns(message, message.layout.blockSize);
    this.#stored = new Uint8Array(this.#columns.width * message.layout.roots);
  }

  /**
   * Replaces every bad block of a round that can be had; returns whether none is left. Levels above `level` have been looked at.
   * Blocks below may be wrong without our knowing: they are tried as erasures and as errors.
   */
  async repair(round: number, level: number): Promise<boolean> {
    for (;;) {
      const verdicts = await this.#verdicts(round, level);
      const bad = verdicts.flatMap((verdict, column) => (verdict === "bad" ? [column] : []));
      if (bad.length === 0) return true;
      const suspects = verdicts.flatMap((verdict, column) => (verdict === "bad" || verdict === "suspect" ? [column] : []));
      const attempts = [bad, ...(suspects.length > bad.length ? [suspects] : []), []];
      let progress = 0;
      for (const erasures of attempts) {
        if (progress === 0 && erasures.length <= this.#message.layout.roots) progress = await this.#attempt(round, bad, erasures);
      }
      // Each block that is right again is one erasure less for the others.
      if (progress === 0) return false;
    }
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
    const { blockSize, roots } = this.#message.layout;
    for (let at = 0; at < blockSize; at += this.#columns.width) {
      const first = round * blockSize + at;
      const width = Math.min(this.#columns.width, blockSize - at);
      const computed = await this.#columns.parity(first, width);
      const stored = this.#stored.subarray(0, width * roots);
      await readPadded(this.#parity, stored, first * roots);
      compareCodewords(computed, stored, roots, (w, difference) => {
        for (const { position, value } of decodeDifference(difference, erasures) ?? []) {
          const bytes = found.get(position);
          if (bytes !== undefined) bytes[at + w] = (bytes[at + w] as number) ^ value;
        }
      });
    }
  }
}
