import type { ByteSource } from "@imgkit/bytes";
import type { BuildFecOptions } from "./build.ts";
import { decodeDifference } from "./decode.ts";
import type { FecLayout } from "./layout.ts";
import { Columns, compareCodewords, FecMessage, readPadded } from "./message.ts";

/** Rounds whose codewords do not fit their parity, from `first` on: each has `blockSize` codewords, and one block of each column. */
export interface FecFinding {
  readonly first: number;
  readonly rounds: number;
  /** Byte offset of their parity, from the parity's start. */
  readonly offset: number;
  readonly length: number;
  /** Bytes of message and parity that would have to change. */
  readonly errors: number;
  /** Whether all of their codewords are near enough to one that has no errors. It need not be the one that was: only a hash tells. */
  readonly correctable: boolean;
}

export interface FecCheck {
  /** True exactly when every codeword fits its parity. */
  readonly ok: boolean;
  /** Parity bytes that are not there because the source ends before. */
  readonly missing: number;
  readonly findings: readonly FecFinding[];
  /** False when there were more findings than `maxFindings`. */
  readonly complete: boolean;
  /** Wrong bytes of message and parity together, in codewords that could be corrected. */
  readonly errors: number;
  /** The first round with a codeword that cannot be corrected without knowing which bytes are wrong. */
  readonly uncorrectable: number | undefined;
}

export interface VerifyFecOptions extends BuildFecOptions {
  /** How many findings to keep; default 10,000. Neighbouring rounds of one kind are one finding. */
  readonly maxFindings?: number;
}

/**
 * Compares data and tree with their parity, codeword by codeword. This says whether they fit each other, not which of them is wrong, and
 * nothing about a root hash: who can change the data can change the parity too.
 * @param parity its first byte is the parity's first byte.
 */
export async function verifyFec(data: ByteSource, hash: ByteSource, parity: ByteSource, layout: FecLayout, options: VerifyFecOptions = {}): Promise<FecCheck> {
  const { roots, blockSize, rounds, size } = layout;
  const columns = await Columns.create(new FecMessage(layout, data, hash));
  const stored = new Uint8Array(columns.width * roots);
  const found = new RoundList(layout, options.maxFindings ?? 10_000);
  const codewords = rounds * blockSize;
  for (let first = 0; first < codewords; first += columns.width) {
    const width = Math.min(columns.width, codewords - first);
    const computed = await columns.parity(first, width);
    const part = stored.subarray(0, width * roots);
    await readPadded(parity, part, first * roots);
    compareCodewords(computed, part, roots, (w, difference) => found.add(Math.floor((first + w) / blockSize), decodeDifference(difference, [])?.length));
    options.onProgress?.((first + width) * roots, size);
  }
  return found.result(Math.max(0, size - parity.size));
}

class RoundList {
  readonly #layout: FecLayout;
  readonly #limit: number;
  readonly #items: { first: number; rounds: number; errors: number; correctable: boolean }[] = [];
  #open: { round: number; errors: number; correctable: boolean } | undefined;
  #overflow = false;
  #errors = 0;
  #uncorrectable: number | undefined;

  constructor(layout: FecLayout, limit: number) {
    this.#layout = layout;
    this.#limit = limit;
  }

  /** A codeword of a round, in ascending order, with its number of errors, undefined when there are too many. */
  add(round: number, errors: number | undefined): void {
    if (this.#open?.round !== round) {
      this.#close();
      this.#open = { round, errors: 0, correctable: true };
    }
    this.#open.errors += errors ?? 0;
    this.#errors += errors ?? 0;
    if (errors !== undefined) return;
    this.#open.correctable = false;
    this.#uncorrectable ??= round;
  }

  #close(): void {
    if (this.#open === undefined) return;
    const { round, errors, correctable } = this.#open;
    const last = this.#items.at(-1);
    if (last !== undefined && last.first + last.rounds === round && last.correctable === correctable) {
      last.rounds += 1;
      last.errors += errors;
    } else if (this.#items.length < this.#limit) this.#items.push({ first: round, rounds: 1, errors, correctable });
    else this.#overflow = true;
  }

  result(missing: number): FecCheck {
    this.#close();
    const bytes = this.#layout.roots * this.#layout.blockSize;
    const findings = this.#items.map((item) => ({ ...item, offset: item.first * bytes, length: item.rounds * bytes }));
    return {
      ok: findings.length === 0 && !this.#overflow && missing === 0,
      missing,
      findings,
      complete: !this.#overflow,
      errors: this.#errors,
      uncorrectable: this.#uncorrectable,
    };
  }
}
