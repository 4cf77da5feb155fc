// lz4/1 written from docs/bytes/lz4-1.md alone, as plainly and slowly as it goes.

const extra = (count: number): number => (count < 15 ? 0 : 1 + Math.floor((count - 15) / 255));

function hashes(input: Uint8Array): number[] {
  const view = new DataView(input.buffer, input.byteOffset, input.length);
  return Array.from({ length: Math.max(0, input.length - 3) }, (_, at) => Math.imul(view.getUint32(at, true), 0x9e3779b1) >>> 18);
}

function matchAt(input: Uint8Array, hash: readonly number[], at: number): { length: number; distance: number } {
  let best = { length: 0, distance: 0 };
  let candidates = 0;
  for (let from = at - 1; from >= 0 && at - from <= 65_535 && candidates < 16; from--) {
    if (hash[from] !== hash[at]) continue;
    candidates += 1;
    let length = 0;
    while (at + length < input.length - 5 && input[from + length] === input[at + length]) length += 1;
    if (length >= 4 && length > best.length) best = { length, distance: at - from };
    if (length >= 64) break;
  }
  return best;
}

const behind = (count: number): number[] => (count < 15 ? [] : [...new Array(Math.floor((count - 15) / 255)).fill(255), (count - 15) % 255]);

function sequence(literals: Uint8Array, match?: { length: number; distance: number }): number[] {
  const code = match === undefined ? 0 : match.length - 4;
  const head = [Math.min(literals.length, 15) * 16 + Math.min(code, 15), ...behind(literals.length), ...literals];
  return match === undefined ? head : [...head, match.distance % 256, Math.floor(match.distance / 256), ...behind(code)];
}

export function referenceLz4(input: Uint8Array, target: number): { readonly block: Uint8Array; readonly consumed: number } {
  const n = input.length;
  const hash = hashes(input);
  const block: number[] = [];
  let literalsAt = 0;
  const size = (literals: number): number => block.length + 1 + extra(literals) + literals + 2;
  for (let p = 0; p <= n - 12; ) {
    if (size(p - literalsAt) + 9 > target) break;
    let match = matchAt(input, hash, p);
    if (match.length === 0) {
      p += 1;
      continue;
    }
    while (match.length < 64 && p < n - 12 && matchAt(input, hash, p + 1).length > match.length) match = matchAt(input, hash, ++p);
    const room = target - size(p - literalsAt) - (1 + Math.max(5, 12 - match.length));
    if (room < 0) break;
    const length = Math.min(match.length, 18 + 255 * room);
    block.push(...sequence(input.subarray(literalsAt, p), { ...match, length }));
    p += length;
    literalsAt = p;
  }
  let count = 0;
  while (literalsAt + count < n && 1 + extra(count + 1) + count + 1 <= target - block.length) count += 1;
  block.push(...sequence(input.subarray(literalsAt, literalsAt + count)));
  return { block: Uint8Array.from(block), consumed: literalsAt + count };
}
