// As much of the WebAssembly binary format (core specification 2.0, chapter 5) as one module with one function needs.
// Instructions are arrays of bytes; a function body is their concatenation.

/** Instructions, or any other run of bytes. */
export type Code = readonly number[];

/** Several runs as one. Of long ones this takes a tenth of the time that spreading them into a literal does. */
export const join = (...parts: readonly Code[]): Code => ([] as number[]).concat(...parts);

/** Unsigned LEB128. */
export function u32(value: number): Code {
  const out: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    out.push(rest > 0 ? low + 128 : low);
  } while (rest > 0);
  return out;
}

/** Signed LEB128 of a 32-bit integer. */
function s32(value: number): Code {
  const out: number[] = [];
  for (let rest = value | 0; ; rest >>= 7) {
    const low = rest & 0x7f;
    const last = rest >> 6 === 0 || rest >> 6 === -1;
    out.push(last ? low : low | 0x80);
    if (last) return out;
  }
}

const simd = (opcode: number, ...rest: number[]): Code => [0xfd, ...u32(opcode), ...rest];

export const local = {
  get: (index: number): Code => [0x20, ...u32(index)],
  set: (index: number): Code => [0x21, ...u32(index)],
  tee: (index: number): Code => [0x22, ...u32(index)],
};

export const i32 = {
  const: (value: number): Code => [0x41, ...s32(value)],
  add: [0x6a] as Code,
  sub: [0x6b] as Code,
};

/** `body` again as long as it leaves something other than zero. */
export const loopWhile = (body: Code): Code => join([0x03, 0x40], body, [0x0d, 0x00, 0x0b]);

const fourBytes = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

export const v128 = {
  /** Four 32-bit lanes from the address on the stack plus `offset`; bytes need not be aligned. */
  load: (offset: number): Code => simd(0x00, 0, ...u32(offset)),
  store: (offset: number): Code => simd(0x0b, 0, ...u32(offset)),
  /** The same 32 bits in each lane. */
  splat: (value: number): Code => simd(0x0c, ...fourBytes(value), ...fourBytes(value), ...fourBytes(value), ...fourBytes(value)),
  /** Bytes picked from the two vectors on the stack: 0 to 15 from the first, 16 to 31 from the second. */
  shuffle: (lanes: Code): Code => simd(0x0d, ...lanes),
  /** Bytes of the first vector on the stack, picked by the second: each below 16. */
  swizzle: simd(0x0e) as Code,
  and: simd(0x4e) as Code,
  xor: simd(0x51) as Code,
  or: simd(0x50) as Code,
  /** Of three vectors a, b, mask: the bits of a where the mask has ones, else of b. */
  bitselect: simd(0x52) as Code,
  shiftLeft: simd(0xab) as Code,
  shiftRight: simd(0xad) as Code,
  add: simd(0xae) as Code,
  /** Each byte shifted to the right by the integer on the stack. */
  shiftBytesRight: simd(0x6d) as Code,
};

const section = (id: number, content: Code): Code => join([id], u32(content.length), content);
const list = (...items: readonly Code[]): Code => join(u32(items.length), ...items);
const text = (name: string): Code => [...u32(name.length), ...Array.from(name, (c) => c.charCodeAt(0))];

const typeI32 = 0x7f;
const typeV128 = 0x7b;

/** A module with a memory of one page (`memory`) and one function (`run`) of `parameters` integers that returns nothing. */
export function moduleOf(parameters: number, vectors: number, body: Code): Uint8Array {
  const functionBody = join(list([...u32(vectors), typeV128]), body, [0x0b]);
  return Uint8Array.from(
    join(
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, list([0x60, ...list(...Array.from({ length: parameters }, () => [typeI32])), 0])),
      section(3, list([0])),
      section(5, list([0x00, 1])),
      section(7, list([...text("memory"), 0x02, 0], [...text("run"), 0x00, 0])),
      section(10, list(join(u32(functionBody.length), functionBody))),
    ),
  );
}
