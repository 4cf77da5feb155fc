// verity/1, fec/1, proof/1 and gpt/1: what is written, what verifies, and what is found when a byte is changed.

import { type ByteSource, concatSource, fromHex, memorySource, toHex, zeroSource } from "../../packages/bytes/src/index.ts";
import {
  buildFec,
  buildTree,
  decodeProof,
  encodeGpt,
  encodeProof,
  fecLayout,
  gptTable,
  type HashEngine,
  type HashName,
  hashNames,
  makeProof,
  type NewTable,
  readGpt,
  repairVerity,
  type VerityCheck,
  VerityError,
  type VerityLayout,
  verifyFec,
  verifyGpt,
  verifyProof,
  verifyTree,
} from "../../packages/verity/src/index.ts";
import { memoryTarget, noise } from "../../packages/verity/test/sample.ts";
import { type Check, digestOf, eachVector, type Format, vectorsOf } from "./check.ts";

export interface VerityVector {
  readonly name: string;
  readonly data: readonly ({ readonly zeros: number } | { readonly xorshift32: number; readonly size: number })[];
  readonly hash: HashName;
  readonly hashType: 0 | 1;
  readonly dataBlockSize: number;
  readonly hashBlockSize: number;
  readonly salt: string;
  readonly uuid: string;
  readonly hashOffset: number;
  readonly rootHash: string;
  readonly sha256: string;
}

/** The data that a vector describes. */
export function dataOf({ data }: Pick<VerityVector, "data">): Uint8Array {
  const parts = data.map((part) => ("zeros" in part ? new Uint8Array(part.zeros) : noise(part.size, part.xorshift32)));
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function changed(bytes: Uint8Array, at: number): ByteSource {
  const copy = bytes.slice();
  copy[at] = (copy[at] as number) ^ 1;
  return memorySource(copy);
}

const found = ({ ok, findings }: VerityCheck) => ({ ok, bad: findings.map(({ kind, level = null, block, blocks }) => ({ kind, level, block, blocks })) });
const one = (kind: string, level: number | null, block: number) => ({ kind, level, block, blocks: 1 });

/** What has to be found when the last data block is changed, and when the first block of the lowest level is. */
function expectedFindings({ levels, dataBlocks }: VerityLayout): unknown {
  if (levels.length === 0) return { whole: { ok: true, bad: [] }, data: { ok: false, bad: [one("root", null, 0)] } };
  const hash = { ok: false, bad: [one(levels.length === 1 ? "root" : "tree", 0, 0), one("data", null, 0)] };
  return { whole: { ok: true, bad: [] }, data: { ok: false, bad: [one("data", null, dataBlocks - 1)] }, hash };
}

const trees: Format = eachVector<VerityVector>(async (vector, engines) => {
  const { hashOffset, rootHash, sha256 } = vector;
  const engine = engines.blocks;
  const data = dataOf(vector);
  const target = memoryTarget();
  const built = await buildTree(memorySource(data), target.write, { ...vector, salt: fromHex(vector.salt), engine });
  const hash = target.bytes(built.layout.size);
  const judge = async (one: ByteSource, other: ByteSource) => found(await verifyTree(one, other, built.rootHash, { hashOffset, engine }));
  const lowest = built.layout.levels[0];
  const verified = {
    whole: await judge(memorySource(data), memorySource(hash)),
    data: await judge(changed(data, data.length - 1), memorySource(hash)),
    ...(lowest === undefined ? {} : { hash: await judge(memorySource(data), changed(hash, lowest.offset)) }),
  };
  return {
    found: { rootHash: toHex(built.rootHash), sha256: await digestOf(hash), verified },
    expected: { rootHash, sha256, verified: expectedFindings(built.layout) },
  };
});

/** The vectors of verity/1: there is one of each algorithm at least. */
export const verity: Format = (file) => {
  const covered = new Set(vectorsOf<VerityVector>(file).map(({ hash }) => hash));
  const run: Check["run"] = async () => ({ found: hashNames.filter((name) => !covered.has(name)), expected: [] });
  return [...trees(file), { name: "every algorithm has a vector", run }];
};

export interface ProofVector extends Omit<VerityVector, "uuid" | "hashOffset"> {
  readonly blocks: readonly number[];
  readonly path?: string;
  readonly size: number;
}

/** The proof of some blocks of a vector's data, as it is published. */
export async function proofOf(vector: ProofVector, engine?: HashEngine): Promise<Uint8Array> {
  const target = memoryTarget();
  const data = memorySource(dataOf(vector));
  const options = { ...vector, salt: fromHex(vector.salt), superblock: false, ...(engine === undefined ? {} : { engine }) };
  const { rootHash, layout } = await buildTree(data, target.write, options);
  return encodeProof(await makeProof({ data, hash: memorySource(target.bytes(layout.size)), layout, rootHash }, vector.blocks, vector.path));
}

/** The proof; what it proves; and that it proves nothing of another root hash. */
export const proof: Format = eachVector<ProofVector>(async (vector, { blocks: engine }) => {
  const bytes = await proofOf(vector, engine);
  const rootHash = fromHex(vector.rootHash);
  const proven = verifyProof(decodeProof(bytes), rootHash, { engine });
  rootHash[0] = (rootHash[0] as number) ^ 1;
  let refused = "";
  try {
    verifyProof(decodeProof(bytes), rootHash, { engine });
  } catch (error) {
    if (!(error instanceof VerityError)) throw error;
    refused = error.code;
  }
  return {
    found: { size: bytes.length, sha256: await digestOf(bytes), blocks: proven.blocks, refused },
    expected: { size: vector.size, sha256: vector.sha256, blocks: vector.blocks, refused: "NOT_AUTHENTIC" },
  };
});

export interface FecVector extends Pick<VerityVector, "name" | "data" | "hash" | "salt" | "uuid" | "rootHash" | "sha256"> {
  readonly blockSize: number;
  readonly roots: number;
  readonly size: number;
}

/** The parity, which fits; and the repair of as many blocks, from the last one back, as there are roots. */
export const fec: Format = eachVector<FecVector>(async (vector, { blocks: engine }) => {
  const { hash, blockSize, uuid, roots } = vector;
  const data = dataOf(vector);
  const target = memoryTarget();
  const shape = { hash, hashType: 1, dataBlockSize: blockSize, hashBlockSize: blockSize } as const;
  const { rootHash, layout } = await buildTree(memorySource(data), target.write, { ...shape, salt: fromHex(vector.salt), uuid, engine });
  const [sources, plan] = [{ data, hash: target.bytes(layout.size) }, fecLayout(layout, { roots, hashEnd: layout.size })];
  const parity = memoryTarget();
  await buildFec(memorySource(data), memorySource(sources.hash), plan, parity.write);
  const bytes = memorySource(parity.bytes(plan.size));
  const fits = (await verifyFec(memorySource(data), memorySource(sources.hash), bytes, plan)).ok;
  const before = await digestOf(data);
  data.fill(0x5a, Math.max(0, data.length - roots * blockSize));
  const write = (source: "data" | "hash", offset: number, block: Uint8Array): void => sources[source].set(block, offset);
  const damaged = { data: memorySource(data), hash: memorySource(sources.hash), write };
  const { ok } = await repairVerity(damaged, bytes, rootHash, layout, plan, { engine });
  return {
    found: { rootHash: toHex(rootHash), size: plan.size, sha256: await digestOf(parity.bytes(plan.size)), fits, ok, repaired: await digestOf(data) },
    expected: { rootHash: vector.rootHash, size: vector.size, sha256: vector.sha256, fits: true, ok: true, repaired: before },
  };
});

export interface GptVector extends Omit<NewTable, "partitions"> {
  readonly name: string;
  readonly partitions: readonly (Omit<NewTable["partitions"][number], "attributes"> & { readonly attributes: string; readonly number: number })[];
  readonly primary: string;
  readonly backup: string;
}

const plain = ({ partitions, ...table }: NewTable) => ({ ...table, partitions: partitions.map((p) => ({ ...p, attributes: String(p.attributes) })) });

/** Both copies; the table that is read back; and the backup's, when a byte of the primary header is changed. */
export const gpt: Format = eachVector<GptVector>(async ({ primary, backup, name: _, ...vector }) => {
  const table = { ...vector, partitions: vector.partitions.map((p) => ({ ...p, attributes: BigInt(p.attributes) })) };
  const encoded = encodeGpt(table);
  const between = zeroSource(encoded.backup.offset - encoded.primary.bytes.length);
  const diskWith = (start: ByteSource) => concatSource([start, between, memorySource(encoded.backup.bytes)]);
  const disk = diskWith(memorySource(encoded.primary.bytes));
  const torn = diskWith(changed(encoded.primary.bytes, table.sectorSize + 56));
  const tables = [await readGpt(disk), await readGpt(torn)].map((read) => [read.from, plain(read.table)]);
  const codes = (await verifyGpt(torn)).map(({ place, code }) => `${place} ${code}`);
  const wanted = plain(gptTable(table));
  return {
    found: {
      primary: await digestOf(encoded.primary.bytes),
      backup: await digestOf(encoded.backup.bytes),
      tables,
      findings: await verifyGpt(disk),
      codes,
    },
    expected: {
      primary,
      backup,
      tables: [
        ["primary", wanted],
        ["backup", wanted],
      ],
      findings: [],
      codes: ["primary HEADER_CRC"],
    },
  };
});
