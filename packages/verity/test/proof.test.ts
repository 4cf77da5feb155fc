import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromHex, ImgkitError, memorySource, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { rolldown } from "rolldown";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import {
  blocksOfRanges,
  buildTree,
  decodeProof,
  encodeProof,
  type KnownParams,
  makeProof,
  type Proof,
  readSuperblock,
  recordingSource,
  unverifiedRootHash,
  type VerityPair,
  verifiedSource,
  verifyProof,
  verityLayout,
} from "../src/index.ts";
import { arbitrarySample, contentsOf, memoryTarget, noise, type Sample, uuid, veritysetupFlags } from "./sample.ts";

const long = process.env.IMGKIT_LONG === "1";

interface Made extends VerityPair {
  readonly bytes: Uint8Array;
  readonly tree: Uint8Array;
}

async function make(sample: Omit<Sample, "seed" | "zeros">, bytes: Uint8Array): Promise<Made> {
  const target = memoryTarget();
  const { rootHash, layout } = await buildTree(memorySource(bytes), target.write, { ...sample, uuid });
  const tree = target.bytes(layout.size);
  return { data: memorySource(bytes), hash: memorySource(tree), layout, rootHash, bytes, tree };
}

const plain = { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: noise(32, 9), superblock: true, hashOffset: 0 } as const;
/** Compares without vitest's walk over every byte. */
const same = (found: unknown, expected: Uint8Array): void => expect(Buffer.compare(found as Uint8Array, expected)).toBe(0);
const code = (name: string) => expect.objectContaining({ code: name });

/** What a verifier who knows all parameters says of some bytes: the data that they prove, or the code of the refusal. */
function judge(bytes: Uint8Array, rootHash: Uint8Array, known: KnownParams): readonly [number, string][] | string {
  try {
    const proof = decodeProof(bytes);
    const { source, blocks } = verifyProof(proof, rootHash, { known });
    const size = proof.dataBlockSize;
    return blocks.map((block) => [block, toHex(source.read(block * size, (block + 1) * size) as Uint8Array)]);
  } catch (error) {
    if (error instanceof ImgkitError) return error.code;
    throw error;
  }
}

describe("a proof of some blocks", () => {
  test("proves them and only them, for every shape of tree, and comes back from its bytes", async () => {
    await fc.assert(
      fc.asyncProperty(arbitrarySample(48 * 1024), fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), async (sample, drawn) => {
        const made = await make(sample, contentsOf(sample));
        const { layout, rootHash } = made;
        const blocks = drawn.map((n) => n % layout.dataBlocks);
        const proof = decodeProof(encodeProof(await makeProof(made, blocks)));
        const proven = verifyProof(proof, rootHash, { known: layout });
        expect(proven.blocks).toEqual([...new Set(blocks)].sort((a, b) => a - b));
        expect(proven.assumed).toEqual([]);
        const size = layout.dataBlockSize;
        for (let block = 0; block < layout.dataBlocks; block++) {
          const read = (): unknown => proven.source.read(block * size, (block + 1) * size);
          if (proven.blocks.includes(block)) same(read(), made.bytes.subarray(block * size, (block + 1) * size));
          else expect(read).toThrow(code("NOT_PROVEN"));
        }
      }),
      { numRuns: long ? 1000 : 60 },
    );
  });

  test("with any altered byte is refused", async () => {
    // Small blocks, so that every byte can be tried: a tree of three levels.
    const sample = { ...plain, dataBlockSize: 512, hashBlockSize: 512, dataBlocks: 300 };
    const made = await make(sample, noise(300 * 512, 5));
    const bytes = encodeProof(await makeProof(made, [0, 17, 299], "etc/os-release"));
    expect(judge(bytes, made.rootHash, made.layout)).toHaveLength(3);
    const codes = new Set<unknown>();
    for (let at = 0; at < bytes.length; at++) {
      const altered = bytes.slice();
      altered[at] = (altered[at] ?? 0) ^ (1 << (at % 7));
      const verdict = judge(altered, made.rootHash, made.layout);
      // The label alone can become another one: it decides nothing (readProvenFile asks for the path that the caller names).
      if (typeof verdict !== "string" && decodeProof(altered).path !== "etc/os-release") continue;
      expect(verdict, `byte ${at}`).toMatch(/^[A-Z_]+$/);
      codes.add(verdict);
    }
    expect([...codes]).toEqual(expect.arrayContaining(["BAD_PROOF", "NOT_AUTHENTIC", "OTHER_PARAMETERS"]));
  });

  test("with any drawn alteration is refused: bytes, block numbers, parameters, root", async () => {
    await fc.assert(
      fc.asyncProperty(arbitrarySample(64 * 1024), fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), async (sample, drawn, place, mask) => {
        const made = await make(sample, contentsOf(sample));
        const proof = await makeProof(made, [drawn % made.layout.dataBlocks]);
        const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i === place % bytes.length ? byte ^ mask : byte));
        const { layout, rootHash } = made;
        const [first] = proof.data as [Proof["data"][number]];
        const refused = (changed: Proof, root = rootHash): void => {
          expect(() => verifyProof(changed, root, { known: { hashType: layout.hashType, dataBlocks: layout.dataBlocks } })).toThrow(ImgkitError);
        };
        refused(proof, flip(rootHash));
        refused({ ...proof, data: [{ ...first, bytes: flip(first.bytes) }] });
        const other = layout.dataBlocks > 1 ? (first.block + 1 + (place % (layout.dataBlocks - 1))) % layout.dataBlocks : 1;
        const sameDigest = (a: number): string => toHex(made.bytes.subarray(a * layout.dataBlockSize, (a + 1) * layout.dataBlockSize));
        if (sameDigest(other) !== sameDigest(first.block)) refused({ ...proof, data: [{ ...first, block: other }] });
        refused({ ...proof, salt: proof.salt.length === 0 ? Uint8Array.of(mask) : flip(proof.salt) });
        refused({
          ...proof,
          salt: Uint8Array.of(...proof.salt.slice(0, 255), 1, 2)
            .slice(0, 256)
            .map((b, i) => (i === 0 ? b ^ 1 : b)),
        });
        refused({ ...proof, hashType: layout.hashType === 0 ? 1 : 0 });
        for (const [depth, level] of proof.tree.entries()) {
          const changed = level.map((one, i) => (i === 0 ? { ...one, bytes: flip(one.bytes) } : one));
          refused({ ...proof, tree: proof.tree.map((one, i) => (i === depth ? changed : one)) });
        }
      }),
      { numRuns: long ? 1000 : 80 },
    );
  });

  test("of a data block that is really a hash block verifies only when nobody knows how high the tree is", async () => {
    const made = await make({ ...plain, dataBlocks: 300 }, noise(300 * 4096, 3));
    const { rootHash, layout, tree } = made;
    const top = layout.levels[1]?.offset ?? 0;
    // Someone claims that the blocks of the lowest level are the data.
    const forged: Proof = { ...layout, dataBlocks: 3, tree: [[{ block: 0, bytes: tree.slice(top, top + 4096) }]], data: [] };
    const at = layout.levels[0]?.offset ?? 0;
    const proof = { ...forged, data: [{ block: 1, bytes: tree.slice(at + 4096, at + 8192) }] };
    expect(verifyProof(proof, rootHash).assumed).toContain("dataBlocks");
    expect(() => verifyProof(proof, rootHash, { known: { dataBlocks: 300 } })).toThrow(code("OTHER_PARAMETERS"));
  });

  test("of a data block that is shifted by the salt verifies only when nobody knows the hash type", async () => {
    const bytes = noise(4096, 3);
    const made = await make({ ...plain, dataBlocks: 1 }, bytes);
    const both = Uint8Array.of(...plain.salt, ...bytes);
    const proof: Proof = { ...plain, dataBlocks: 1, hashType: 0, salt: both.slice(4096), tree: [], data: [{ block: 0, bytes: both.slice(0, 4096) }] };
    expect(verifyProof(proof, made.rootHash).assumed).toContain("hashType");
    expect(() => verifyProof(proof, made.rootHash, { known: { hashType: 1 } })).toThrow(code("OTHER_PARAMETERS"));
  });

  test("is not made of data or a tree that the root hash does not vouch for, nor of blocks that are not there", async () => {
    const made = await make({ ...plain, dataBlocks: 300 }, noise(300 * 4096, 3));
    await expect(makeProof({ ...made, rootHash: new Uint8Array(32) }, [1])).rejects.toThrow(code("NOT_AUTHENTIC"));
    await expect(makeProof({ ...made, rootHash: new Uint8Array(20) }, [1])).rejects.toThrow(code("BAD_ROOT_HASH"));
    for (const blocks of [[], [300], [-1], [0.5]]) await expect(makeProof(made, blocks)).rejects.toThrow(code("BAD_RANGE"));
    const changed = made.bytes.slice();
    changed[4096 * 7] = (changed[4096 * 7] ?? 0) ^ 1;
    await expect(makeProof({ ...made, data: memorySource(changed) }, [7])).rejects.toThrow(/data block 7 is not what the digest above it says/);
    const beside = verifyProof(await makeProof({ ...made, data: memorySource(changed) }, [8]), made.rootHash);
    expect(await beside.source.read(8 * 4096, 9 * 4096)).toEqual(made.bytes.slice(8 * 4096, 9 * 4096));
    await expect(makeProof({ ...made, data: memorySource(changed.subarray(4096)) }, [8])).rejects.toThrow(code("BAD_DATA_SIZE"));
    const large = await make({ ...plain, hashBlockSize: 512, dataBlockSize: 1 << 19, dataBlocks: 130 }, new Uint8Array(130 << 19));
    await expect(
      makeProof(
        large,
        Array.from({ length: 130 }, (_, i) => i),
      ),
    ).rejects.toThrow(code("TOO_LARGE"));
  });

  test("reads its blocks and the hash blocks above them, and nothing else", async () => {
    const made = await make({ ...plain, dataBlocks: 300 }, noise(300 * 4096, 3));
    const [data, hash] = [recordingSource(made.data), recordingSource(made.hash)];
    await makeProof({ ...made, data: data.source, hash: hash.source }, [5, 6, 200]);
    expect(blocksOfRanges(data.ranges, 4096)).toEqual([5, 6, 200]);
    expect(blocksOfRanges(hash.ranges, 4096)).toEqual([1, 2, 3]);
  });

  test("of one block of 4 TiB has less than 28 KiB: one hash block of each of five levels, the top as far as it is filled", async () => {
    // 4 TiB of zeros: each level is one block again and again.
    const layout = verityLayout({ ...plain, superblock: false, dataBlocks: 2 ** 30 });
    expect(layout.levels.map(({ blocks }) => blocks)).toEqual([2 ** 23, 2 ** 16, 512, 4, 1]);
    const { hash, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt } = layout;
    const full = (block: number) => ({ block, bytes: noise(4096, block + 1) });
    const tree = [[{ block: 0, bytes: Uint8Array.from({ length: 4096 }, (_, i) => (i < 128 ? 7 : 0)) }], [full(0)], [full(0)], [full(0)], [full(0)]];
    const size = encodeProof({ hash, hashType, dataBlockSize, hashBlockSize, dataBlocks, salt, tree, data: [full(0)] }).length;
    // Base64 of five full blocks and of 128 bytes, and less than 500 bytes around them.
    expect(size - 5 * 5464 - 172).toBeLessThan(500);
  });
});

test("what verifies a proof is a few hundred bytes of code, as docs/bytes/proof-1.md says", async () => {
  const build = await rolldown({ input: fileURLToPath(new URL("../src/proof/descend.ts", import.meta.url)) });
  const { output } = await build.generate({ format: "esm", minify: true });
  await build.close();
  const page = readFileSync(new URL("../../../docs/bytes/proof-1.md", import.meta.url), "utf8");
  expect(output[0].code.length).toBe(Number(/(\d+) bytes minified/.exec(page)?.[1]));
});

describe("a verified source", () => {
  test("gives what stands there, for every shape of tree and any ranges, and refuses every block that was changed", async () => {
    await fc.assert(
      fc.asyncProperty(arbitrarySample(48 * 1024), fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 1, maxLength: 8 }), async (sample, ranges) => {
        const bytes = contentsOf(sample);
        const made = await make(sample, bytes);
        expect(await unverifiedRootHash(made)).toEqual(made.rootHash);
        const source = verifiedSource(made);
        expect(source.size).toBe(bytes.length);
        for (const [a, b] of ranges) {
          const [start = 0, end = 0] = [a % (bytes.length + 1), b % (bytes.length + 1)].sort((x, y) => x - y);
          same(await source.read(start, end), bytes.subarray(start, end));
        }
        const [place, mask] = ranges[0] as [number, number];
        const changed = bytes.slice();
        const at = place % bytes.length;
        changed[at] = (changed[at] ?? 0) ^ ((mask % 255) + 1);
        await expect(async () => verifiedSource({ ...made, data: memorySource(changed) }).read(at, at + 1)).rejects.toThrow(code("NOT_AUTHENTIC"));
      }),
      { numRuns: long ? 500 : 50 },
    );
  });
});

describe("proof/1", () => {
  const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
  const proofText = async (): Promise<string> => {
    const made = await make({ ...plain, dataBlocks: 5 }, noise(5 * 4096, 3));
    return new TextDecoder().decode(encodeProof(await makeProof(made, [1, 3], "etc/os-release")));
  };

  test.each<[what: string, change: (text: string) => string, message: RegExp]>([
    ["nothing", () => "", /no JSON/],
    ["another schema", (t) => t.replace("proof/1", "proof/2"), /field schema/],
    ["no object", () => "null\n", /field schema/],
    ["a blank more", (t) => t.replace('"data":', '"data": '), /one form/],
    ["no newline at the end", (t) => t.trimEnd(), /one form/],
    ["a member twice", (t) => t.replace('"hashType":1', '"hashType":0,"hashType":1'), /one form/],
    ["a member more", (t) => t.replace('"hashType":1', '"hashType":1,"rootHash":""'), /one form/],
    ["members in another order", (t) => t.replace('"hash":"sha256","hashType":1', '"hashType":1,"hash":"sha256"'), /one form/],
    ["a salt in capitals", (t) => t.replace(/"salt":"([^"]*)"/, (_, salt) => `"salt":"${salt.toUpperCase()}"`), /one form/],
    ["an algorithm in capitals", (t) => t.replace("sha256", "SHA256"), /one form|not supported/],
    ["an unknown algorithm", (t) => t.replace("sha256", "md5"), /algorithm/],
    ["a block size of no power of two", (t) => t.replace('"dataBlockSize":4096', '"dataBlockSize":4095'), /block size/],
    ["no data blocks", (t) => t.replace('"dataBlocks":5', '"dataBlocks":0'), /data blocks/],
    ["a number of data blocks that gives another height", (t) => t.replace('"dataBlocks":5', '"dataBlocks":500'), /another height/],
    ["blocks that do not ascend", (t) => t.replace('{"block":1,', '{"block":3,'), /ascend/],
    ["a block that is not there", (t) => t.replace('{"block":3,', '{"block":5,'), /ascend/],
    ["a block number of no integer", (t) => t.replace('{"block":3,', '{"block":3.5,'), /ascend/],
    ["no base64", (t) => t.replace('{"block":3,"bytes":"', '{"block":3,"bytes":"!'), /base64/],
    ["a block that is too long", (t) => t.replace('{"block":3,"bytes":"', `{"block":3,"bytes":"${"AAAA".repeat(1400)}`), /too long/],
    ["zeros at the end of a block", (t) => t.replace(/"\}\n\]\}\n$/, (end) => `AAAA${end}`), /one form|too long|base64/],
    ["no tree", (t) => t.replace(/"tree":.*,"data"/s, '"tree":[],"data"'), /another height/],
    ["a hash block too many", (t) => t.replace('"tree":[[\n', '"tree":[[\n{"block":7,"bytes":""},\n'), /ascend|other blocks/],
    ["an absolute path", (t) => t.replace('"path":"', '"path":"/'), /path/],
    ["a path with ..", (t) => t.replace('"path":"etc', '"path":"etc/..'), /path/],
    ["no text for a path", (t) => t.replace('"path":"etc/os-release"', '"path":7'), /no text/],
    ["a byte-order mark", (t) => `\ufeff${t}`, /no JSON/],
  ])("%s is refused", async (_, change, message) => {
    const text = change(await proofText());
    expect(() => decodeProof(bytesOf(text))).toThrow(message);
    expect(() => decodeProof(bytesOf(text))).toThrow(ImgkitError);
  });

  test("blocks of zeros without end do not fill the memory", () => {
    const block = (i: number): string => `{"block":${i},"bytes":""}`;
    const data = Array.from({ length: 200 }, (_, i) => block(i)).join(",\n");
    const text = `{"schema":"imgkit.proof/1","hash":"sha256","hashType":1,"dataBlockSize":524288,"hashBlockSize":4096,"dataBlocks":1000,"salt":"","tree":[[],[]],"data":[\n${data}\n]}\n`;
    expect(() => decodeProof(bytesOf(text))).toThrow(code("TOO_LARGE"));
  });

  test(`${long ? 100_000 : 3000} mutated proofs are read or refused with a typed error, and none proves what is not so`, async () => {
    const made = await make({ ...plain, dataBlockSize: 512, hashBlockSize: 512, dataBlocks: 40 }, noise(40 * 512, 3));
    const bytes = encodeProof(await makeProof(made, [1, 3, 39]));
    const expected = new Map(judge(bytes, made.rootHash, made.layout) as [number, string][]);
    const random = new DataView(noise(1 << 18, 77).buffer);
    let next = 0;
    const draw = (limit: number): number => {
      next = (next + 4) % random.byteLength;
      return random.getUint32(next, true) % limit;
    };
    const words = ['"', "{", "}", "[", "]", ",", ":", "0", "9", "-", "e9", "null", "A", "=", "\\u0000"].map(bytesOf);
    let refused = 0;
    for (let i = 0; i < (long ? 100_000 : 3000); i++) {
      const at = draw(bytes.length);
      const cut = draw(4);
      const altered = Buffer.concat([bytes.subarray(0, at), words[draw(words.length)] as Uint8Array, bytes.subarray(Math.min(bytes.length, at + cut))]);
      const verdict = judge(altered, made.rootHash, made.layout);
      if (typeof verdict === "string") refused += 1;
      else for (const [block, hex] of verdict) expect(hex).toBe(expected.get(block));
    }
    expect(refused).toBeGreaterThan(2000);
  });
});

oracle("veritysetup")("proofs from the trees that veritysetup writes verify against the root hashes that it prints", async () => {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-proof-"));
  try {
    await fc.assert(
      fc.asyncProperty(arbitrarySample(64 * 1024), fc.array(fc.nat(), { minLength: 1, maxLength: 5 }), async (drawn, blocks) => {
        const sample = { ...drawn, hashOffset: 0, superblock: true };
        const layout = verityLayout(sample);
        const bytes = contentsOf(sample);
        writeFileSync(join(folder, "data"), bytes);
        writeFileSync(join(folder, "hash"), new Uint8Array(layout.size));
        const args = ["format", join(folder, "data"), join(folder, "hash"), `--uuid=${uuid}`, ...veritysetupFlags(layout)];
        const { stdout, stderr } = spawnSync("veritysetup", args, { encoding: "utf8" });
        const rootHash = fromHex(/^Root hash:\s+([0-9a-f]+)$/m.exec(stdout)?.[1] ?? stderr);
        const hash = memorySource(readFileSync(join(folder, "hash")));
        const read = verityLayout({ ...(await readSuperblock(hash)), hashOffset: 0, superblock: true });
        const proof = await makeProof(
          { data: memorySource(bytes), hash, layout: read, rootHash },
          blocks.map((n) => n % layout.dataBlocks),
        );
        const proven = verifyProof(decodeProof(encodeProof(proof)), rootHash, { known: sample });
        for (const block of proven.blocks) {
          const [start, end] = [block * sample.dataBlockSize, (block + 1) * sample.dataBlockSize];
          same(proven.source.read(start, end), bytes.subarray(start, end));
        }
      }),
      { numRuns: long ? 300 : 20 },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
