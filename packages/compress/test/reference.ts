// gzip/1's DEFLATE data once more, written from docs/bytes/gzip-1.md alone, for the eye and not for speed: what the page leaves out
// would show as a difference. How blocks become bits; reference-parse.ts has how they are found.

import { type Block, blocksOf, CHUNK, countTokens, distanceSymbol, lengthSymbol, type Token, WINDOW } from "./reference-parse.ts";

type Bit = 0 | 1;
const MAX_STORED = 65_535;
const PRE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** The number's bits, the lowest first. */
const number = (value: number, size: number): Bit[] => Array.from({ length: size }, (_, i) => ((value >> i) & 1) as Bit);

/** The code lengths of symbols with these counts. */
function codeLengths(given: readonly number[], max: number): number[] {
  const counts = [...given];
  // A lone symbol, or none, gets company.
  for (const company of [0, 1]) if (counts.filter((n) => n > 0).length < 2 && counts[company] === 0) counts[company] = 1;
  const leaves = counts.map((weight, symbol) => ({ weight, symbol })).filter(({ weight }) => weight > 0);
  leaves.sort((a, b) => a.weight - b.weight || a.symbol - b.symbol);
  type Node = { readonly weight: number; readonly under: readonly Node[] };
  let queue: Node[] = leaves.map(({ weight }) => ({ weight, under: [] }));
  while (queue.length > 1) {
    const [a, b] = queue as [Node, Node];
    const node = { weight: a.weight + b.weight, under: [a, b] };
    const behind = queue.findIndex(({ weight }, i) => i >= 2 && weight > node.weight);
    queue = [...queue.slice(2, behind < 0 ? undefined : behind), node, ...(behind < 0 ? [] : queue.slice(behind))];
  }
  const depths = new Array<number>(max + 1).fill(0);
  const change = (depth: number, by: number): void => {
    depths[depth] = (depths[depth] as number) + by;
  };
  const walk = ({ under }: Node, depth: number): void => {
    if (under.length === 0) change(Math.min(depth, max), 1);
    for (const node of under) walk(node, depth + 1);
  };
  walk(queue[0] as Node, 0);
  const space = (): number => depths.reduce((sum, n, depth) => sum + n * 2 ** (max - depth), 0);
  while (space() > 2 ** max) {
    const deepest = depths.findLastIndex((n, depth) => depth < max && n > 0);
    change(deepest, -1);
    change(deepest + 1, 2);
    change(max, -1);
  }
  const order = depths.flatMap((n, depth) => new Array<number>(n).fill(depth)).reverse();
  const lengths = new Array<number>(counts.length).fill(0);
  leaves.forEach(({ symbol }, i) => {
    lengths[symbol] = order[i] as number;
  });
  return lengths;
}

/** RFC 1951 section 3.2.2: the codes, the first bit first. */
function codesOf(lengths: readonly number[]): Bit[][] {
  const codes = lengths.map((): Bit[] => []);
  let code = 0;
  for (let length = 1; length <= 15; length++) {
    lengths.forEach((own, symbol) => {
      if (own === length) codes[symbol] = number(code++, length).reverse();
    });
    code *= 2;
  }
  return codes;
}

/** The code lengths as items of the code length code: symbol, extra bits and their value. */
function describe(lengths: readonly number[]): (readonly [number, number, number])[] {
  const items: (readonly [number, number, number])[] = [];
  for (let i = 0; i < lengths.length; ) {
    const length = lengths[i] as number;
    let run = lengths.slice(i).findIndex((other) => other !== length);
    if (run < 0) run = lengths.length - i;
    i += run;
    if (length !== 0 && run-- > 0) items.push([length, 0, 0]);
    while (run > 0) {
      const [symbol, least, most, extra] = length !== 0 ? [16, 3, 6, 2] : run >= 11 ? [18, 11, 138, 7] : [17, 3, 10, 3];
      const repeat = Math.min(run, most as number);
      if (repeat < (least as number)) items.push(...Array.from({ length: repeat }, () => [length, 0, 0] as const));
      else items.push([symbol as number, extra as number, repeat - (least as number)]);
      run -= repeat;
    }
  }
  return items;
}

function coded(tokens: readonly Token[], literals: readonly number[], distances: readonly number[]): Bit[] {
  const [first, second] = [codesOf(literals), codesOf(distances)];
  const out: Bit[] = [];
  for (const { literal, length, distance } of tokens) {
    if (literal !== undefined) out.push(...(first[literal] as Bit[]));
    else {
      const [a, b] = [lengthSymbol(length), distanceSymbol(distance)];
      out.push(...(first[a[0]] as Bit[]), ...number(a[2], a[1]), ...(second[b[0]] as Bit[]), ...number(b[2], b[1]));
    }
  }
  return [...out, ...(first[256] as Bit[])];
}

const trimmed = (lengths: readonly number[], least: number): readonly number[] => lengths.slice(0, Math.max(least, lengths.findLastIndex((n) => n > 0) + 1));

const fixedLengths = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));

/** The bits of a block behind its three first, with its type. */
function encode({ tokens, from, to }: Block): { readonly type: number; readonly bits: Bit[] } {
  const counts = countTokens(tokens);
  const literals = codeLengths([...counts.literals, 1, ...counts.lengths.slice(0, 29)], 15);
  const distances = codeLengths(counts.distances, 15);
  const [sent, sentDistances] = [trimmed(literals, 257), trimmed(distances, 1)];
  const items = describe([...sent, ...sentDistances]);
  const uses = new Array<number>(19).fill(0);
  for (const [symbol] of items) uses[symbol] = (uses[symbol] as number) + 1;
  const pre = codeLengths(uses, 7);
  const preSent = trimmed(
    PRE_ORDER.map((symbol) => pre[symbol] as number),
    4,
  );
  const preCodes = codesOf(pre);
  const own = [...number(sent.length - 257, 5), ...number(sentDistances.length - 1, 5), ...number(preSent.length - 4, 4)];
  for (const length of preSent) own.push(...number(length, 3));
  for (const [symbol, extra, value] of items) own.push(...(preCodes[symbol] as Bit[]), ...number(value, extra));
  for (const bit of coded(tokens, literals, distances)) own.push(bit);
  const fixed = coded(tokens, fixedLengths, new Array<number>(30).fill(5));
  const stored = (to - from) * 8 + Math.max(1, Math.ceil((to - from) / MAX_STORED)) * 40;
  if (stored <= fixed.length && stored <= own.length) return { type: 0, bits: [] };
  return fixed.length <= own.length ? { type: 1, bits: fixed } : { type: 2, bits: own };
}

/** The DEFLATE data of `input` in gzip/1. */
export function referenceDeflate(input: Uint8Array, level: "fast" | "default"): Uint8Array {
  const out: Bit[] = [];
  const put = (bits: readonly Bit[]): void => {
    for (const bit of bits) out.push(bit);
  };
  const align = (): void => {
    while (out.length % 8 !== 0) out.push(0);
  };
  for (let start = 0; start === 0 || start < input.length; start += CHUNK) {
    const dictionary = Math.min(start, WINDOW);
    const bytes = input.subarray(start - dictionary, start + CHUNK);
    const lastChunk = start + CHUNK >= input.length;
    for (const block of blocksOf(bytes, dictionary, level === "default")) {
      const { type, bits } = encode(block);
      const last = lastChunk && block.to === bytes.length;
      if (type !== 0) put([...number(last ? 1 : 0, 1), ...number(type, 2)]);
      put(bits);
      for (let at = block.from; type === 0 && at < block.to; at += MAX_STORED) {
        const part = bytes.subarray(at, Math.min(at + MAX_STORED, block.to));
        put([last && at + part.length === block.to ? 1 : 0, 0, 0]);
        align();
        put([...number(part.length, 16), ...number(~part.length, 16)]);
        for (const byte of part) put(number(byte, 8));
      }
    }
    if (!lastChunk) put([0, 0, 0]);
    align();
    if (!lastChunk) put([...number(0, 16), ...number(0xffff, 16)]);
  }
  return Uint8Array.from({ length: out.length / 8 }, (_, i) => out.slice(i * 8, i * 8 + 8).reduce<number>((byte, bit, k) => byte | (bit << k), 0));
}
