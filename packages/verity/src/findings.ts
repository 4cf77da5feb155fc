import { toHex } from "@imgkit/bytes";

/** What a finding is about. `root`: the top of the tree is not what the root hash says. */
export type FindingKind = "superblock" | "root" | "tree" | "padding" | "data";

/** A run of bad blocks, or of bad bytes in one block (`superblock`, `padding`). */
export interface VerityFinding {
  readonly kind: FindingKind;
  /** What is wrong and where, as one line. */
  readonly message: string;
  /** Which of the two sources `offset` counts in. */
  readonly source: "data" | "hash";
  /** Level of a hash block, 0 for the lowest; undefined for data and superblock. */
  readonly level: number | undefined;
  /** First bad block, counted from 0 within its level or within the data; 0 for a superblock. */
  readonly block: number;
  readonly blocks: number;
  /** In bytes from the start of the source. */
  readonly offset: number;
  readonly length: number;
  /**
   * False when the digest that the block was compared with stands in a hash block that is bad itself: then either may
   * have been changed.
   */
  readonly certain: boolean;
  /** Digests in hexadecimal, of a single block; values, of a superblock. */
  readonly expected?: string;
  readonly found?: string;
}

type Kind = "data" | "tree";

interface Run {
  readonly kind: Kind;
  readonly missing: boolean;
  readonly level: number | undefined;
  readonly block: number;
  blocks: number;
  readonly certain: boolean;
  readonly offset: number;
  readonly blockSize: number;
  readonly expected: string | undefined;
  readonly found: string | undefined;
}

/** A block that does not match, before it is merged with its neighbours. */
export interface BadBlock {
  readonly kind: Kind;
  readonly level: number | undefined;
  readonly block: number;
  readonly blockSize: number;
  /** Byte offset of the block in its source. */
  readonly offset: number;
  readonly certain: boolean;
  readonly expected: Uint8Array;
  readonly found: Uint8Array;
}

/** Gathers findings, merges neighbours, and stops at a limit. */
export class FindingList {
  readonly #items: (VerityFinding | Run)[] = [];
  readonly #open = new Map<string, Run>();
  readonly #limit: number;
  /** Whether findings were left out because of the limit. */
  overflow = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(finding: VerityFinding): void {
    this.#push(finding);
  }

  addBad(bad: BadBlock): void {
    const { kind, level, block, blockSize, offset, certain } = bad;
    const key = `${kind} ${level} ${certain}`;
    const open = this.#open.get(key);
    if (open !== undefined && open.block + open.blocks === block) {
      open.blocks += 1;
      return;
    }
    const run = { kind, missing: false, level, block, blocks: 1, certain, offset, blockSize, expected: toHex(bad.expected), found: toHex(bad.found) };
    if (this.#push(run)) this.#open.set(key, run);
  }

  /** Blocks that lie past the end of their source. */
  addMissing(kind: Kind, level: number | undefined, block: number, blocks: number, offset: number, blockSize: number): void {
    this.#push({ kind, missing: true, level, block, blocks, certain: true, offset, blockSize, expected: undefined, found: undefined });
  }

  result(): VerityFinding[] {
    return this.#items.map((item) => ("missing" in item ? finished(item) : item));
  }

  #push(item: VerityFinding | Run): boolean {
    this.overflow ||= this.#items.length >= this.#limit;
    if (!this.overflow) this.#items.push(item);
    return !this.overflow;
  }
}

function finished(run: Run): VerityFinding {
  const { kind, level, block, blocks, certain, offset, blockSize, expected, found } = run;
  const place = kind === "data" ? "data" : `level ${level} of the tree`;
  const which = blocks === 1 ? `block ${block}` : `blocks ${block} to ${block + blocks - 1}`;
  const problem = run.missing
    ? `${blocks === 1 ? "lies" : "lie"} past the end of the ${kind === "data" ? "data" : "hash area"}`
    : `${blocks === 1 ? "does" : "do"} not match ${blocks === 1 ? "its digest" : "their digests"}${certain ? "" : " (the hash block with the digest is bad itself)"}`;
  return {
    kind,
    message: `${place}: ${which} at byte ${offset} ${problem}`,
    source: kind === "data" ? "data" : "hash",
    level,
    block,
    blocks,
    offset,
    length: blocks * blockSize,
    certain,
    ...(blocks === 1 && expected !== undefined && found !== undefined ? { expected, found } : {}),
  };
}

/** Blocks as merged half-open ranges, added in ascending order. */
export class BlockSet {
  readonly #ranges: { start: number; end: number }[] = [];

  add(block: number, count = 1): void {
    const last = this.#ranges.at(-1);
    if (last !== undefined && last.end === block) last.end += count;
    // A stranger's disk must not fill the memory; past this many ranges "certain" may be said too often.
    else if (this.#ranges.length < 1 << 16) this.#ranges.push({ start: block, end: block + count });
  }

  has(block: number): boolean {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const range = this.#ranges[middle];
      if (range === undefined || range.start > block) high = middle;
      else if (range.end > block) return true;
      else low = middle + 1;
    }
    return false;
  }
}
