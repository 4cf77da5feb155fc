import { decodeBase64, memorySource, toHex } from "@imgkit/bytes";
import { treeFromObject } from "@imgkit/core";
import { architectureTypes, derivePartitionUuid, encodeSignaturePartition, type RootHashSignature } from "@imgkit/verity";
import { nativeEngine } from "@imgkit/verity/node";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type DiskOptions, layoutDisk } from "../src/disk/layout.ts";
import { verifyDisk } from "../src/disk/verify.ts";
import { type DiskDescription, writeDisk } from "../src/disk/write.ts";
import { epoch, uuid } from "./helpers.ts";

// What signs is a stand-in: the PKCS #7 is bytes to a disk, and @imgkit/attest's to judge.

const signRootHash = (rootHash: Uint8Array): RootHashSignature => ({
  rootHash,
  certificateFingerprint: new Uint8Array(32).fill(5),
  signature: rootHash.slice(0, 9),
});

const tree = treeFromObject({ "etc/root": "in root\n", "usr/lib/usr": "in usr\n", "opt/opt": "in opt\n" }, { mtime: epoch });

async function diskOf(options: Partial<DiskOptions> = {}): Promise<{ bytes: Uint8Array; disk: DiskDescription }> {
  const layout = await layoutDisk({ tree, epoch }, { arch: "x86-64", seed: uuid, ...options });
  const bytes = new Uint8Array(layout.size);
  const disk = await writeDisk(layout, { writeAt: (at, chunk) => bytes.set(chunk, at), truncate: () => undefined }, { engine: nativeEngine });
  return { bytes, disk };
}

const check = (bytes: Uint8Array, rootHash?: string) =>
  verifyDisk(memorySource(bytes), { engine: nativeEngine, ...(rootHash === undefined ? {} : { rootHash }) });

let signed: { bytes: Uint8Array; disk: DiskDescription };
let at: number;
beforeAll(async () => {
  signed = await diskOf({ signRootHash });
  at = signed.disk.partitions[2]?.offset ?? 0;
});

test("root and usr get a partition with the signature behind their tree, opt none, and the disk is as it should be", async () => {
  const { bytes, disk } = await diskOf({ signRootHash, split: ["usr", "opt"], empty: { var: 1 << 20 } });
  expect(disk.partitions.map(({ name }) => name)).toEqual([
    ...["root", "usr"].flatMap((use) => ["", "-verity", "-verity-sig"].map((end) => `${use}-x86-64${end}`)),
    ...["opt", "opt-verity", "var"],
  ]);
  expect(disk.pairs).toMatchObject([
    { mountPoint: "/", data: 1, verity: 2, veritySig: 3 },
    { mountPoint: "/usr", data: 4, verity: 5, veritySig: 6 },
    { mountPoint: "/opt", data: 7, verity: 8 },
  ]);
  expect(disk.pairs[2]).not.toHaveProperty("veritySig");
  const types = architectureTypes["x86-64"];
  for (const [i, type] of [
    [2, types.root.veritySig],
    [5, types.usr.veritySig],
  ] as const) {
    const { offset, size, ...part } = disk.partitions[i] as DiskDescription["partitions"][number];
    expect(part).toMatchObject({ type, uuid: derivePartitionUuid(uuid, type) });
    expect(bytes.slice(offset, offset + size)).toEqual(encodeSignaturePartition(signRootHash(Buffer.from(disk.pairs[i === 2 ? 0 : 1]?.rootHash ?? "", "hex"))));
  }
  const verdict = await check(bytes);
  expect(verdict.findings).toEqual([]);
  expect(verdict.unprotected).toEqual([3, 6, 9]);
  expect(verdict.pairs.map(({ signature }) => signature?.partition)).toEqual([3, 6, undefined]);
});

test("nothing of a disk depends on whether it is signed but the partition, its entry and the size", async () => {
  const plain = await diskOf();
  expect(signed.disk.rootHash).toBe(plain.disk.rootHash);
  expect(signed.disk.diskGuid).toBe(plain.disk.diskGuid);
  const end = 2 * (1 << 20) + (plain.disk.partitions[1]?.size ?? 0);
  expect(Buffer.compare(signed.bytes.subarray(1 << 20, end), plain.bytes.subarray(1 << 20, end))).toBe(0);
  expect(signed.disk.partitions.slice(0, 2)).toEqual(plain.disk.partitions);
});

test("the signature is found, and of this root hash", async () => {
  const { pairs } = await check(signed.bytes, signed.disk.rootHash);
  const { signature } = pairs[0] as { signature: { partition: number; certificateFingerprint: string; pkcs7: string } };
  expect(signature).toMatchObject({ partition: 3, certificateFingerprint: "05".repeat(32) });
  expect(toHex(decodeBase64(signature.pkcs7))).toBe(signed.disk.rootHash.slice(0, 18));
});

describe("a partition that holds no signature of the disk's root hash is a finding, and the tree is right all the same", () => {
  test.each([
    ["of another root hash", () => encodeSignaturePartition(signRootHash(new Uint8Array(32)))],
    ["empty", () => new Uint8Array(16384)],
    ["no JSON", () => new Uint8Array(16384).fill(0x41)],
    ["data behind the JSON", () => encodeSignaturePartition(signRootHash(new Uint8Array(32))).fill(1, 16000)],
  ])("%s", async (_name, content) => {
    const bytes = signed.bytes.slice();
    bytes.set(content(), at);
    const { ok, findings, pairs } = await check(bytes);
    expect(ok).toBe(false);
    expect(findings).toMatchObject([{ code: "SIGNATURE", partition: 3, offset: at, length: 16384 }]);
    expect(pairs).toMatchObject([{ ok: true, rootHash: signed.disk.rootHash }]);
  });
});

test("no changed byte of the partition goes unseen: it is a finding, or another signature or fingerprint", async () => {
  const text = encodeSignaturePartition(signRootHash(new Uint8Array(32))).indexOf(0);
  const before = (await check(signed.bytes)).pairs[0]?.signature;
  const position = fc.oneof(fc.nat(text), fc.nat(16383));
  await fc.assert(
    fc.asyncProperty(position, fc.integer({ min: 1, max: 255 }), async (offset, change) => {
      const bytes = signed.bytes.slice();
      bytes[at + offset] = (bytes[at + offset] ?? 0) ^ change;
      const { findings, pairs } = await check(bytes);
      if (findings.length === 0) expect(pairs[0]?.signature).not.toEqual(before);
      else expect(findings.map(({ code }) => code)).toEqual(["SIGNATURE"]);
    }),
    { numRuns: 60 },
  );
});

test("a signature that does not fit into its partition is refused", async () => {
  const large = (rootHash: Uint8Array): RootHashSignature => ({ rootHash, signature: new Uint8Array(20_000) });
  await expect(diskOf({ signRootHash: large })).rejects.toMatchObject({ code: "TOO_LARGE" });
});
