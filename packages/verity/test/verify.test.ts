import { createHash } from "node:crypto";
import { memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nativeEngine } from "../src/index.node.ts";
import {
  buildTree,
  encodeSuperblock,
  type Superblock,
  superblockStruct,
  type VerityCheck,
  type VerityFinding,
  type VerityLayout,
  verifyTree,
} from "../src/index.ts";
import { arbitrarySample, contentsOf, memoryTarget, noise, uuid } from "./sample.ts";

interface Built {
  readonly data: Uint8Array;
  readonly hash: Uint8Array;
  readonly root: Uint8Array;
  readonly layout: VerityLayout;
}

// 1000 blocks with 16 digests in a hash block: levels of 63, 4 and 1 blocks.
const params = { hash: "sha256", hashType: 1, dataBlockSize: 512, hashBlockSize: 512, salt: noise(32, 8) } as const;

async function build(input: Partial<Parameters<typeof buildTree>[2]> = {}, blocks = 1000): Promise<Built> {
  const data = noise(blocks * (input.dataBlockSize ?? 512), 77);
  const target = memoryTarget();
  const { rootHash, layout } = await buildTree(memorySource(data), target.write, { ...params, ...input, uuid, engine: nativeEngine });
  return { data, hash: target.bytes(layout.size), root: rootHash, layout };
}

const check = ({ data, hash, root }: Built, options: Parameters<typeof verifyTree>[3] = {}): Promise<VerityCheck> =>
  verifyTree(memorySource(data), memorySource(hash), root, { engine: nativeEngine, ...options });

const brief = (findings: readonly VerityFinding[]): string[] =>
  findings.map((f) => `${f.kind} ${f.level ?? "-"} ${f.block}+${f.blocks} @${f.offset}+${f.length}${f.certain ? "" : "?"}`);

const flip = (bytes: Uint8Array, at: number): void => {
  bytes[at] = (bytes[at] ?? 0) ^ 0x10;
};

test("an untouched tree has no findings", async () => {
  expect(await check(await build())).toMatchObject({ ok: true, rootMatches: true, findings: [], complete: true });
});

test("bad data blocks are all found, neighbours as one", async () => {
  const built = await build();
  for (const block of [0, 500, 501, 502, 504, 999]) flip(built.data, block * 512 + 511);
  const { findings, ok, rootMatches } = await check(built);
  expect(brief(findings)).toEqual(["data - 0+1 @0+512", "data - 500+3 @256000+1536", "data - 504+1 @258048+512", "data - 999+1 @511488+512"]);
  expect({ ok, rootMatches }).toEqual({ ok: false, rootMatches: true });
  expect(findings[1]?.message).toBe("data: blocks 500 to 502 at byte 256000 do not match their digests");
  expect(findings[0]?.found).toMatch(/^[0-9a-f]{64}$/);
});

test("a changed digest is a bad hash block, and its data block is only suspected", async () => {
  const built = await build();
  const level0 = built.layout.levels[0]?.offset ?? 0;
  flip(built.hash, level0 + 20 * 512 + 3 * 32);
  expect(brief((await check(built)).findings)).toEqual([`tree 0 20+1 @${level0 + 20 * 512}+512`, `data - 323+1 @${323 * 512}+512?`]);
});

test("a changed digest in a middle level is a bad block of that level", async () => {
  const built = await build();
  const level1 = built.layout.levels[1]?.offset ?? 0;
  flip(built.hash, level1 + 512 + 31);
  expect(brief((await check(built)).findings)).toEqual([
    `tree 1 1+1 @${level1 + 512}+512`,
    `tree 0 16+1 @${(built.layout.levels[0]?.offset ?? 0) + 16 * 512}+512?`,
  ]);
});

test("a changed top block does not match the root hash", async () => {
  const built = await build();
  flip(built.hash, built.layout.treeOffset);
  const { findings, rootMatches } = await check(built);
  expect(rootMatches).toBe(false);
  expect(findings.map((f) => f.kind)).toEqual(["root", "tree"]);
});

test("another root hash is one finding: everything else agrees with itself", async () => {
  const built = await build();
  const flat = { ...built, root: Uint8Array.from(createHash("sha256").update(built.data).digest()) };
  const { findings, rootMatches } = await check(flat);
  expect(rootMatches).toBe(false);
  expect(findings.map((f) => f.kind)).toEqual(["root"]);
});

test("a root hash of another length is refused", async () => {
  const built = await build();
  await expect(check({ ...built, root: built.root.subarray(0, 20) })).rejects.toMatchObject({ code: "BAD_ROOT_HASH" });
});

describe("padding that is not zero is found, whoever made it", () => {
  test("behind the last digest", async () => {
    const built = await build();
    const last = (built.layout.levels[0]?.offset ?? 0) + 62 * 512;
    flip(built.hash, last + 8 * 32 + 5);
    flip(built.hash, last + 8 * 32 + 9);
    expect(brief((await check(built)).findings)).toEqual([`tree 0 62+1 @${last}+512`, `padding 0 62+1 @${last + 8 * 32 + 5}+5`]);
  });
  test("behind a digest of sha1, type 1", async () => {
    const built = await build({ hash: "sha1" });
    const level0 = built.layout.levels[0]?.offset ?? 0;
    flip(built.hash, level0 + 32 + 20);
    expect(brief((await check(built)).findings)).toEqual([`tree 0 0+1 @${level0}+512`, `padding 0 0+1 @${level0 + 52}+1`]);
  });
  test("behind the packed digests of sha1, type 0", async () => {
    const built = await build({ hash: "sha1", hashType: 0 });
    const level0 = built.layout.levels[0]?.offset ?? 0;
    flip(built.hash, level0 + 16 * 20);
    expect(brief((await check(built)).findings)).toEqual([`tree 0 0+1 @${level0}+512`, `padding 0 0+1 @${level0 + 320}+1`]);
  });
  test("by a forger who computed the digests above anew", async () => {
    const built = await build({}, 10);
    flip(built.hash, built.layout.treeOffset + 10 * 32);
    const top = built.hash.subarray(built.layout.treeOffset, built.layout.size);
    const root = createHash("sha256").update(params.salt).update(top).digest();
    const { findings, rootMatches, ok } = await check({ ...built, root });
    expect({ rootMatches, ok }).toEqual({ rootMatches: true, ok: false });
    expect(brief(findings)).toEqual([`padding 0 0+1 @${built.layout.treeOffset + 320}+1`]);
  });
});

test("data and hash area that end too early are findings", async () => {
  const built = await build();
  const shortData = await check({ ...built, data: built.data.subarray(0, 990 * 512 + 100) });
  expect(brief(shortData.findings)).toEqual([`data - 990+10 @${990 * 512}+${10 * 512}`]);
  const shortHash = await check({ ...built, hash: built.hash.subarray(0, built.layout.size - 700) });
  const level0 = built.layout.levels[0]?.offset ?? 0;
  expect(brief(shortHash.findings)).toEqual([`tree 0 61+2 @${level0 + 61 * 512}+1024`]);
  const none = await check({ ...built, hash: built.hash.subarray(0, 512) });
  expect(none.findings.map((f) => f.kind)).toEqual(["tree", "tree", "tree"]);
  expect(none.ok).toBe(false);
});

test("without a superblock, data that is no whole number of blocks is refused unless their number is given", async () => {
  const built = await build({ superblock: false });
  const longer = { ...built, data: Uint8Array.from([...built.data, 1, 2, 3]) };
  await expect(check(longer, { params })).rejects.toMatchObject({ code: "BAD_DATA_SIZE" });
  expect((await check(longer, { params: { ...params, dataBlocks: 1000 } })).ok).toBe(true);
  const shorter = { ...built, data: built.data.subarray(0, 512 * 900) };
  expect(brief((await check(shorter, { params: { ...params, dataBlocks: 1000 } })).findings)).toEqual(["data - 900+100 @460800+51200"]);
});

test("a single data block is checked against the root hash itself", async () => {
  const built = await build({}, 1);
  expect((await check(built)).ok).toBe(true);
  flip(built.data, 9);
  expect(brief((await check(built)).findings)).toEqual(["root - 0+1 @0+512?"]);
});

describe("superblock", () => {
  test.each(["signature", "version", "hashType", "algorithm", "dataBlockSize", "hashBlockSize", "saltSize"] as const)(
    "a broken %s is a finding, not an exception",
    async (field) => {
      const built = await build();
      built.hash.fill(0xff, superblockStruct.fields[field].at, superblockStruct.fields[field].at + superblockStruct.fields[field].length);
      const result = await check(built);
      expect(result).toMatchObject({ ok: false, rootMatches: false, layout: undefined });
      expect(result.findings).toHaveLength(1);
      expect(result.findings[0]).toMatchObject({ kind: "superblock", source: "hash" });
    },
  );
  test("a stray byte in its padding is a finding beside a tree that holds", async () => {
    const built = await build();
    flip(built.hash, 400);
    const { findings, rootMatches } = await check(built);
    expect(rootMatches).toBe(true);
    expect(findings).toMatchObject([{ kind: "superblock", offset: 400, length: 1 }]);
  });
  test("an empty hash file is a finding", async () => {
    const built = await build();
    expect((await check({ ...built, hash: new Uint8Array(0) })).findings).toMatchObject([{ kind: "superblock" }]);
  });
});

test("a superblock that claims more blocks than there can be neither hangs nor fills the memory", async () => {
  const built = await build();
  const root = built.root;
  for (const dataBlocks of [1001, 2 ** 32 + 1, 2 ** 40, 2 ** 43, 2 ** 44, Number.MAX_SAFE_INTEGER]) {
    for (const hashBlockSize of [512, 524288]) {
      const superblock: Superblock = { ...params, uuid, dataBlocks, hashBlockSize };
      const hash = Uint8Array.from([...encodeSuperblock(superblock), ...built.hash.subarray(512)]);
      expect((await check({ ...built, hash, root })).ok).toBe(false);
    }
  }
});

test("alternating bad blocks end at the limit, and the result says so", async () => {
  const built = await build();
  for (let i = 0; i < 1000; i += 2) flip(built.data, i * 512);
  const all = await check(built);
  expect([all.findings.length, all.complete]).toEqual([500, true]);
  const some = await check(built, { maxFindings: 10 });
  expect([some.findings.length, some.complete, some.ok]).toEqual([10, false, false]);
});

test("exactly the changed data blocks are reported, whatever the parameters", async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(48 * 1024), fc.array(fc.nat(), { maxLength: 12 }), async (sample, flips) => {
      const data = contentsOf(sample);
      const target = memoryTarget();
      const { rootHash, layout } = await buildTree(memorySource(data), target.write, { ...sample, uuid, engine: nativeEngine });
      if (layout.levels.length === 0) return;
      const bad = new Set(flips.map((n) => n % sample.dataBlocks));
      for (const block of bad) flip(data, block * sample.dataBlockSize + (block % sample.dataBlockSize));
      const options = { hashOffset: sample.hashOffset, engine: nativeEngine, ...(sample.superblock ? {} : { params: sample }) };
      const { findings } = await verifyTree(memorySource(data), memorySource(target.bytes(layout.size)), rootHash, options);
      const reported = findings.flatMap((f) => Array.from({ length: f.blocks }, (_, i) => `${f.kind} ${f.block + i} ${f.certain}`));
      expect(reported).toEqual([...bad].sort((a, b) => a - b).map((block) => `data ${block} true`));
    }),
    { numRuns: 150 },
  );
});
