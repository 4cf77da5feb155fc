import { memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeDifference } from "../src/fec/decode.ts";
import { encodeRows, parityTable } from "../src/fec/encode.ts";
import { simdEncoder } from "../src/fec/simd.ts";
import { buildFec, buildTree, type FecLayout, fecLayout, repairVerity, type VerityLayout, verifyFec } from "../src/index.ts";
import { memoryTarget, noise, uuid } from "./sample.ts";

const long = process.env.IMGKIT_LONG === "1";
const params = { hash: "sha256", hashType: 1, dataBlockSize: 512, hashBlockSize: 512, salt: noise(8, 3) } as const;

interface Made {
  readonly data: Uint8Array;
  readonly hash: Uint8Array;
  readonly parity: Uint8Array;
  readonly rootHash: Uint8Array;
  readonly tree: VerityLayout;
  readonly fec: FecLayout;
}

async function make(dataBlocks: number, roots: number): Promise<Made> {
  const data = noise(dataBlocks * 512, dataBlocks + roots);
  const target = memoryTarget();
  const { layout: tree, rootHash } = await buildTree(memorySource(data), target.write, { ...params, uuid });
  const hash = target.bytes(tree.size);
  const fec = fecLayout(tree, { roots, hashEnd: hash.length });
  const out = memoryTarget();
  await buildFec(memorySource(data), memorySource(hash), fec, out.write);
  return { data, hash, parity: out.bytes(fec.size), rootHash, tree, fec };
}

/** Repairs copies. */
async function repaired({ rootHash, tree, fec }: Made, data: Uint8Array, hash: Uint8Array, parity: Uint8Array) {
  const [outData, outHash] = [data.slice(), hash.slice()];
  let writes = 0;
  const write = (source: "data" | "hash", offset: number, bytes: Uint8Array): void => {
    writes++;
    (source === "data" ? outData : outHash).set(bytes, offset);
  };
  const repair = await repairVerity({ data: memorySource(outData), hash: memorySource(outHash), write }, memorySource(parity), rootHash, tree, fec);
  return { repair, data: outData, hash: outHash, writes };
}

type Both = Pick<Made, "data" | "hash">;

/** Not by toEqual, which takes a second for a megabyte. */
function expectSame(found: Both, made: Both): void {
  expect([Buffer.compare(found.data, made.data), Buffer.compare(found.hash, made.hash)]).toEqual([0, 0]);
}

/** The whole codeword of a message. */
function codeword(message: Uint8Array, roots: number): Uint8Array {
  const word = new Uint8Array(255);
  word.set(message);
  word.set(parityOf(message, roots), 255 - roots);
  return word;
}

function parityOf(message: Uint8Array, roots: number): Uint8Array {
  // Of four codewords the second: they stand beside each other.
  const rows = new Uint8Array(4 * message.length);
  message.forEach((byte, i) => {
    rows[4 * i + 1] = byte;
  });
  const out = new Uint8Array(4 * roots);
  encodeRows(parityTable(roots), rows, 4, 4, out);
  return out.slice(roots, 2 * roots);
}

const anyRoots = fc.integer({ min: 2, max: 24 });

describe("a codeword", () => {
  test("errors and erasures are undone exactly when twice the errors and the erasures are at most the roots", () => {
    const cases = anyRoots.chain((roots) =>
      fc.record({
        roots: fc.constant(roots),
        seed: fc.integer({ min: 1 }),
        erased: fc.integer({ min: 0, max: roots }),
        positions: fc.uniqueArray(fc.integer({ min: 0, max: 254 }), { minLength: 24, maxLength: 24 }),
        values: fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 24, maxLength: 24 }),
      }),
    );
    fc.assert(
      fc.property(cases, ({ roots, seed, erased, positions, values }) => {
        const right = codeword(noise(255 - roots, seed), roots);
        const wrong = right.slice();
        const count = erased + Math.floor((roots - erased) / 2);
        positions.slice(0, count).forEach((position, i) => {
          // An erasure may happen to be right.
          wrong[position] = (wrong[position] ?? 0) ^ (i < erased && i % 3 === 2 ? 0 : (values[i] ?? 1));
        });
        const difference = parityOf(wrong.subarray(0, 255 - roots), roots).map((byte, j) => byte ^ (wrong[255 - roots + j] ?? 0));
        const corrections = decodeDifference(difference, positions.slice(0, erased));
        if (corrections === undefined) throw new Error("not corrected, and within the limit");
        for (const { position, value } of corrections) wrong[position] = (wrong[position] ?? 0) ^ value;
        expect(wrong).toEqual(right);
      }),
      { numRuns: long ? 20_000 : 1000 },
    );
  });

  test("past the limit whatever comes back is a codeword, or nothing is", () => {
    let refused = 0;
    fc.assert(
      fc.property(anyRoots, fc.integer({ min: 1 }), (roots, seed) => {
        const word = noise(255, seed);
        const difference = parityOf(word.subarray(0, 255 - roots), roots).map((byte, j) => byte ^ (word[255 - roots + j] ?? 0));
        const corrections = decodeDifference(difference, []);
        if (corrections === undefined) {
          refused++;
          return;
        }
        for (const { position, value } of corrections) word[position] = (word[position] ?? 0) ^ value;
        expect(parityOf(word.subarray(0, 255 - roots), roots)).toEqual(word.slice(255 - roots));
      }),
      { numRuns: long ? 5000 : 300 },
    );
    expect(refused).toBeGreaterThan(0);
  });

  test("more erasures than roots are refused", () => {
    expect(decodeDifference(Uint8Array.of(1, 2), [1, 2, 3])).toBeUndefined();
  });
});

describe("repair", () => {
  test("a burst of as many blocks as roots times rounds is repaired; one block more is refused and named", async () => {
    for (const roots of [2, 5, 24]) {
      const made = await make(700, roots);
      const burst = roots * made.fec.rounds;
      const damaged = made.data.slice();
      damaged.fill(0x5a, 512 * 50, 512 * (50 + burst));
      const good = await repaired(made, damaged, made.hash, made.parity);
      expect(good.repair).toMatchObject({ ok: true, repaired: { data: burst, tree: 0 }, findings: [] });
      expectSame(good, made);

      damaged.fill(0x5a, 512 * (50 + burst), 512 * (51 + burst));
      const { repair } = await repaired(made, damaged, made.hash, made.parity);
      expect(repair.ok).toBe(false);
      // Of the round with one block too many all stay as they are; the others are repaired.
      expect(repair.repaired.data).toBe(burst - roots);
      expect(repair.findings.map(({ block }) => block)).toEqual(Array.from({ length: roots + 1 }, (_, i) => 50 + i * made.fec.rounds));
      expect(repair.findings[0]?.message).toBe(`data: block 50 at byte ${50 * 512} does not match its digest`);
    }
  });

  test("every level of the tree is repaired from the top down, with data beside it", async () => {
    const made = await make(700, 12);
    for (const level of made.tree.levels) {
      const hash = made.hash.slice();
      hash.fill(0xee, level.offset, level.offset + 512);
      const data = made.data.slice();
      data.fill(0, 512 * 5, 512 * 7);
      const good = await repaired(made, data, hash, made.parity);
      expect(good.repair).toMatchObject({ ok: true, repaired: { data: 2, tree: 1 } });
      expectSame(good, made);
    }
  });

  test("a burst up to the limit that goes over from the data into the tree is repaired, its top included", async () => {
    for (const roots of [2, 7]) {
      const made = await make(700, roots);
      const burst = roots * made.fec.rounds;
      const treeBlocks = made.tree.hashBlocks;
      for (const inTree of [1, 3, Math.min(burst - 1, treeBlocks)]) {
        const [data, hash] = [made.data.slice(), made.hash.slice()];
        data.fill(0x3c, data.length - 512 * (burst - inTree));
        hash.fill(0x3c, made.tree.treeOffset, made.tree.treeOffset + 512 * inTree);
        const good = await repaired(made, data, hash, made.parity);
        expect(good.repair, `${roots} roots, ${inTree} blocks of the tree`).toMatchObject({ ok: true, repaired: { data: burst - inTree, tree: inTree } });
        expectSame(good, made);
      }
    }
  });

  test("bad blocks anywhere beside a bad block of the tree, one less than the roots in all, are repaired", async () => {
    const made = await make(700, 9);
    const { rounds } = made.fec;
    const [data, hash] = [made.data.slice(), made.hash.slice()];
    const spoil = (block: number): void => void data.fill(0x22, block * 512, (block + 1) * 512);
    // Block 10 of the lowest level, and one of the sixteen below it, so that it cannot be made anew.
    const offset = (made.tree.levels[0]?.offset ?? 0) + 10 * 512;
    hash.fill(0x11, offset, offset + 512);
    const round = (made.tree.dataBlocks + (offset - made.tree.treeOffset) / 512) % rounds;
    spoil([160, 161].find((block) => block % rounds !== round) ?? 0);
    // Seven blocks of its round.
    for (const column of [0, 20, 77, 100, 101, 150, 160]) spoil(column * rounds + round);
    const good = await repaired(made, data, hash, made.parity);
    expect(good.repair).toMatchObject({ ok: true, repaired: { data: 8, tree: 1 } });
    expectSame(good, made);
  });

  test("a block of the tree is made anew from what is below it, where its round has too many bad blocks", async () => {
    const made = await make(700, 2);
    const top = made.tree.dataBlocks % made.fec.rounds;
    const [data, hash] = [made.data.slice(), made.hash.slice()];
    hash.fill(0x11, made.tree.treeOffset, made.tree.treeOffset + 512);
    for (const column of [3, 50]) data.fill(0x22, (column * made.fec.rounds + top) * 512, (column * made.fec.rounds + top + 1) * 512);
    const good = await repaired(made, data, hash, made.parity);
    expect(good.repair).toMatchObject({ ok: true, repaired: { data: 2, tree: 1 } });
    expectSame(good, made);
  });

  test("many blocks with one wrong byte each are repaired, though they are more than the roots", async () => {
    const made = await make(200, 2);
    const data = made.data.slice();
    for (let block = 0; block < 200; block++) data[block * 512 + block] = (data[block * 512 + block] ?? 0) ^ 0x80;
    const good = await repaired(made, data, made.hash, made.parity);
    expect(good.repair).toMatchObject({ ok: true, repaired: { data: 200, tree: 0 } });
    expectSame(good, made);
  });

  test("data and tree that were cut off are repaired as far as the parity reaches", async () => {
    const made = await make(300, 24);
    const cut = 512 * 10;
    const target = { data: made.data.slice(), hash: made.hash.slice() };
    const write = (source: "data" | "hash", offset: number, bytes: Uint8Array): void => target[source].set(bytes, offset);
    target.data.fill(0, target.data.length - cut);
    target.hash.fill(0, target.hash.length - 512);
    const sources = { data: memorySource(target.data), hash: memorySource(target.hash), write };
    expect((await repairVerity(sources, memorySource(made.parity), made.rootHash, made.tree, made.fec)).ok).toBe(true);
    expectSame(target, made);
  });

  test("wrong parity beside wrong data: what the code reaches is repaired, the rest is not touched", async () => {
    const made = await make(200, 8);
    const [data, parity] = [made.data.slice(), made.parity.slice()];
    data.fill(1, 0, 512 * 4);
    for (let w = 0; w < 512; w++) {
      parity[w * 8] = (parity[w * 8] ?? 0) ^ 0xff;
      parity[w * 8 + 5] = (parity[w * 8 + 5] ?? 0) ^ 0x0f;
    }
    // Four erasures and two errors: 4 + 2 · 2 = 8.
    expectSame(await repaired(made, data, made.hash, parity), made);
    data.fill(1, 0, 512 * 5);
    const { repair, writes } = await repaired(made, data, made.hash, parity);
    expect([repair.ok, writes]).toEqual([false, 0]);
    expect(repair.findings).toMatchObject([{ kind: "data", block: 0, blocks: 5 }]);
  });

  test("parity of other data than the root hash's is no way in: nothing is written", async () => {
    const made = await make(100, 6);
    const other = made.data.slice();
    other[1000] = (other[1000] ?? 0) ^ 1;
    const out = memoryTarget();
    await buildFec(memorySource(other), memorySource(made.hash), made.fec, out.write);
    const forged = out.bytes(made.fec.size);
    expect((await verifyFec(memorySource(other), memorySource(made.hash), memorySource(forged), made.fec)).ok).toBe(true);
    const { repair, writes } = await repaired(made, other, made.hash, forged);
    expect([repair.ok, writes]).toEqual([false, 0]);
  });
});

test("hostile data, trees and parity of any content and size end in a verdict, and what is ok has the root hash", async () => {
  const made = await make(60, 4);
  const piece = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), bytes: fc.uint8Array({ maxLength: 1500 }) });
  const spoil = (bytes: Uint8Array, pieces: readonly { at: number; bytes: Uint8Array }[], size: number): Uint8Array => {
    const out = bytes.slice(0, Math.round(size * bytes.length));
    for (const { at, bytes: some } of pieces) {
      const start = Math.floor(at * out.length);
      out.set(some.subarray(0, out.length - start), start);
    }
    return out;
  };
  const spoiled = fc.tuple(
    fc.array(piece, { maxLength: 4 }),
    fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) }),
  );
  await fc.assert(
    fc.asyncProperty(spoiled, spoiled, spoiled, anyRoots, async (d, h, p, roots) => {
      const fec = fecLayout(made.tree, { roots, hashEnd: made.hash.length });
      const [data, hash, parity] = [spoil(made.data, ...d), spoil(made.hash, ...h), spoil(made.parity, ...p)];
      const check = await verifyFec(memorySource(data), memorySource(hash), memorySource(parity), fec);
      expect(check.missing).toBe(Math.max(0, fec.size - parity.length));
      // What is written is as long as it has to be; what was cut off is zeros.
      const whole = (bytes: Uint8Array, size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => bytes[i] ?? 0);
      const result = await repaired({ ...made, fec }, whole(data, made.data.length), whole(hash, made.hash.length), parity);
      // The superblock is no part of it.
      if (result.repair.ok) expectSame({ data: result.data, hash: Buffer.concat([made.hash.subarray(0, 512), result.hash.subarray(512)]) }, made);
      else expect(result.repair.findings.length).toBeGreaterThan(0);
    }),
    { numRuns: long ? 2000 : 40 },
  );
});

describe("refused", () => {
  test("roots that are none of 2 to 24, and unequal blocks", async () => {
    const made = await make(3, 2);
    for (const roots of [0, 1, 25, 2.5, Number.NaN]) {
      expect(() => fecLayout(made.tree, { roots, hashEnd: 0 })).toThrow(/the number of parity bytes is not supported/);
    }
    expect(() => fecLayout({ ...made.tree, hashBlockSize: 1024 }, { roots: 2, hashEnd: 0 })).toThrow(/blocks of one size/);
  });

  test("a root hash of another length", async () => {
    const made = await make(3, 2);
    await expect(repaired({ ...made, rootHash: new Uint8Array(20) }, made.data, made.hash, made.parity)).rejects.toThrow(/wrong length/);
  });
});

test("WebAssembly and the table compute the same parity, with every number of roots", async () => {
  for (let roots = 2; roots <= 24; roots++) {
    const stride = 192;
    const rows = noise((255 - roots) * stride, roots);
    const [ours, simd] = [new Uint8Array(128 * roots), new Uint8Array(128 * roots)];
    encodeRows(parityTable(roots), rows, stride, 128, ours);
    const encoder = await simdEncoder(roots, rows.length);
    encoder?.rows.set(rows);
    encoder?.encode(stride, 128, simd);
    expect(Buffer.compare(ours, simd), `${roots} roots`).toBe(0);
  }
});
