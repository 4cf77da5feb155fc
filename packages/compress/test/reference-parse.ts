// gzip/1's DEFLATE data once more, written from docs/bytes/gzip-1.md alone, for the eye and not for speed: what the page leaves out
// would show as a difference. How tokens and blocks are found; reference.ts has how they become bits.

const CHUNK = 1 << 20;
const WINDOW = 32_768;
/** Where the page lets a chunk begin. */
const FIRST = 32_768;
const BATCH = 2048;
const ENOUGH = 32;

export interface Token {
  readonly literal?: number;
  readonly length: number;
  readonly distance: number;
}

const hash = (word: number, bits: number): number => Math.imul(word, 0x9e3779b1) >>> (32 - bits);
const floorLog2 = (n: number): number => 31 - Math.clz32(n);

function log2(n: number): number {
  const e = floorLog2(n);
  const m = Math.floor((n * 65_536) / 2 ** e) - 65_536;
  return 65_536 * e + m + Math.floor((Math.floor((m * (65_536 - m)) / 65_536) * 22_610) / 65_536);
}

/** RFC 1951 section 3.2.5: symbol, extra bits and their value. */
function lengthSymbol(length: number): readonly [number, number, number] {
  if (length === 258) return [285, 0, 0];
  const n = length - 3;
  const extra = n < 8 ? 0 : floorLog2(n) - 2;
  return [257 + 4 * extra + (n >> extra), extra, n & ((1 << extra) - 1)];
}

function distanceSymbol(distance: number): readonly [number, number, number] {
  const n = distance - 1;
  const extra = n < 4 ? 0 : floorLog2(n) - 1;
  return [2 * extra + (n >> extra), extra, n & ((1 << extra) - 1)];
}

/** The tables of a chunk, and what it finds in them. `bytes` begins with the dictionary. */
class Search {
  private readonly pairs = Array.from({ length: 1 << 15 }, () => [0, 0]);
  private readonly fours = Array.from({ length: 1 << 14 }, () => [0, 0, 0, 0]);
  private readonly eights = new Array<number>(1 << 14).fill(0);
  private readonly threes = new Array<number>(1 << 13).fill(0);
  private readonly bytes: Uint8Array;
  private readonly dictionary: number;
  private readonly lazy: boolean;

  constructor(bytes: Uint8Array, dictionary: number, lazy: boolean) {
    this.bytes = bytes;
    this.dictionary = dictionary;
    this.lazy = lazy;
  }

  private word(at: number): number {
    return this.bytes.slice(at, at + 4).reduce((word, byte, i) => word | (byte << (8 * i)), 0);
  }

  private same(at: number, distance: number): number {
    let length = 0;
    while (length < 258 && this.bytes[at + length] !== undefined && this.bytes[at + length] === this.bytes[at + length - distance]) length++;
    return length;
  }

  private entries(at: number): { pair: number[]; four: number[]; eight: number; three: number } {
    const word = this.word(at);
    let words = 0n;
    for (let i = 7; i >= 0; i--) words = (words << 8n) | BigInt(this.bytes[at + i] ?? 0);
    const eight = Number(BigInt.asUintN(64, words * 0x9e3779b185ebca87n) >> 50n);
    return { pair: this.pairs[hash(word, 15)] as number[], four: this.fours[hash(word, 14)] as number[], eight, three: hash(word << 8, 13) };
  }

  enter(at: number): void {
    const { pair, four, eight, three } = this.entries(at);
    const position = (FIRST + at - this.dictionary) % 65_536;
    for (const newest of [pair, four]) {
      newest.unshift(position);
      newest.pop();
    }
    this.eights[eight] = position;
    this.threes[three] = position;
  }

  /** The best match at a position, of more than `over` bytes, before the position is entered. */
  find(at: number, over: number, first: boolean): Token | undefined {
    const { pair, four, eight, three } = this.entries(at);
    const distanceOf = (entry: number): number => (FIRST + at - this.dictionary - entry + 65_536 * 2) % 65_536;
    const lengthOf = (distance: number): number => (distance < 1 || distance > Math.min(WINDOW, at) ? 0 : this.same(at, distance));
    let best: Token | undefined;
    for (const entry of this.lazy ? [this.eights[eight] as number, ...four] : pair) {
      const distance = distanceOf(entry);
      const length = lengthOf(distance);
      if (length >= 4 && length > (best?.length ?? over)) best = { length, distance };
      if (best !== undefined && best.length >= ENOUGH) break;
    }
    const near = distanceOf(this.threes[three] as number);
    if (best === undefined && this.lazy && first && lengthOf(near) >= 3) best = { length: 3, distance: near };
    return best;
  }
}

type Counts = { readonly literals: number[]; readonly lengths: number[]; readonly distances: number[] };

function countTokens(tokens: readonly Token[]): Counts {
  const counts: Counts = { literals: new Array(256).fill(0), lengths: new Array(30).fill(0), distances: new Array(30).fill(0) };
  const add = (list: number[], i: number): void => {
    list[i] = (list[i] as number) + 1;
  };
  for (const { literal, length, distance } of tokens) {
    if (literal !== undefined) add(counts.literals, literal);
    else {
      add(counts.lengths, lengthSymbol(length)[0] - 257);
      add(counts.distances, distanceSymbol(distance)[0]);
    }
  }
  return counts;
}

const total = (counts: readonly number[]): number => counts.reduce((sum, n) => sum + n, 0);
const weight = (counts: readonly number[]): number => counts.reduce((sum, n) => sum + (n === 0 ? 0 : n * log2(n)), 0);
const entropy = (counts: readonly number[]): number => (total(counts) === 0 ? 0 : total(counts) * log2(total(counts)) - weight(counts));
const bits = ({ literals, lengths, distances }: Counts): number => entropy([...literals, ...lengths]) + entropy(distances);

function reaches({ literals, lengths, distances }: Counts, before: readonly number[]): readonly number[] {
  const [n, m] = [total(literals), total(lengths)];
  if (n === 0 || m === 0) return before;
  const all = log2(n + m);
  const literal = all - Math.floor(weight(literals) / n);
  const match = all - Math.floor(weight(lengths) / m) + Math.floor(entropy(distances) / m);
  return [3, 4, 5].map((length) => {
    const left = length * literal - match;
    return left < 0 ? 0 : Math.min(WINDOW, 4 * 2 ** Math.floor(left / 65_536));
  });
}

export interface Block {
  readonly tokens: readonly Token[];
  readonly from: number;
  readonly to: number;
}

/** The blocks of a chunk, whose first byte is at `dictionary`. */
function blocksOf(bytes: Uint8Array, dictionary: number, lazy: boolean): Block[] {
  const search = new Search(bytes, dictionary, lazy);
  const to = bytes.length;
  const stop = Math.max(0, to - 3);
  for (let at = 0; at < Math.min(dictionary, stop); at++) search.enter(at);
  const blocks: Block[] = [];
  let block: Token[] = [];
  let batch: Token[] = [];
  let [blockStart, batchStart, at] = [dictionary, dictionary, dictionary];
  let reach: readonly number[] = [8192, WINDOW, WINDOW];
  const put = (token: Token): void => {
    batch.push(token);
  };
  const literal = (): void => put({ literal: bytes[at] as number, length: 1, distance: 0 });
  const endBatch = (): void => {
    if (batchStart > blockStart && bits(countTokens([...block, ...batch])) > bits(countTokens(batch)) + bits(countTokens(block)) + 600 * 65_536) {
      blocks.push({ tokens: block, from: blockStart, to: batchStart });
      block = batch;
      blockStart = batchStart;
    } else {
      block = [...block, ...batch];
      reach = reaches(countTokens(block), reach);
    }
    batch = [];
    batchStart = at;
  };
  const take = (match: Token, entered: number): void => {
    put(match);
    const end = at + match.length;
    for (let i = entered; i < Math.min(end, stop); i++) search.enter(i);
    at = end;
  };
  while (at < stop) {
    let match = search.find(at, 3, true);
    search.enter(at);
    if (match === undefined || (lazy && match.length < 6 && match.distance > (reach[match.length - 3] as number))) {
      literal();
      at++;
    } else if (lazy) {
      for (;;) {
        if (match.length >= ENOUGH || at + 1 >= stop) {
          take(match, at + 1);
          break;
        }
        const next = search.find(at + 1, Math.max(3, match.length - 1), false);
        search.enter(at + 1);
        if (next === undefined || 4 * (next.length - match.length) + floorLog2(match.distance) - floorLog2(next.distance) <= 2) {
          take(match, at + 2);
          break;
        }
        literal();
        at++;
        match = next;
      }
    } else take(match, at + 1);
    if (at >= batchStart + BATCH && at < stop) endBatch();
  }
  for (; at < to; at++) literal();
  endBatch();
  blocks.push({ tokens: block, from: blockStart, to });
  return blocks;
}

export { blocksOf, CHUNK, countTokens, distanceSymbol, lengthSymbol, WINDOW };
