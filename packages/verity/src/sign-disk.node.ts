import { type ByteRange, toHex } from "@imgkit/bytes";
import { createOutput, openFile } from "@imgkit/bytes/node";
import { copyData } from "./copy.node.ts";
import { derivePartitionUuid } from "./derive.ts";
import { architectureTypes, partitionFlags, rootHashUuids } from "./discoverable.ts";
import { VerityError } from "./errors.ts";
import { appendPartition } from "./gpt/append.ts";
import { type GptUpdateOptions, gptUpdate } from "./gpt/edit.ts";
import { readGpt } from "./gpt/read.ts";
import type { GptPartition, GptTable } from "./gpt/table.ts";
import { encodeSignaturePartition, type RootHashSignature } from "./signature.ts";

/** The signature of what a data partition holds. */
export interface DiskSignature {
  /** Number of the data partition, a root or usr one, whose UUID announces the root hash. */
  readonly data: number;
  readonly signature: RootHashSignature;
}

export interface SignDiskOptions extends GptUpdateOptions {
  readonly signatures: readonly DiskSignature[];
  /** What the UUID of a new partition derives from. */
  readonly seed: string;
}

export interface SignedPartitions {
  readonly data: GptPartition;
  readonly veritySig: GptPartition;
}

export interface SignDiskResult {
  readonly table: GptTable;
  readonly partitions: readonly SignedPartitions[];
}

/**
 * Puts signatures of root hashes into a ready disk image: the first root partition's into the first partition of the type that belongs to it, the
 * second's into the second, whatever those hold; where there is none, a new one is added behind all others, and the disk grows when there is no
 * room. `target` may be `source`: it appears whole or not at all. Whether a signature is good is not looked at.
 * @throws VerityError NOT_GPT; HYBRID_MBR; BAD_GPT naming the partition; BAD_ROOT_HASH when a data partition announces another root hash;
 * BAD_SIGNATURE and TOO_LARGE as `encodeSignaturePartition`. BytesError as `openFile` and `createOutput`.
 */
export async function signDisk(source: string, target: string, options: SignDiskOptions): Promise<SignDiskResult> {
  const disk = openFile(source);
  try {
    const read = await readGpt(disk);
    const { table, parts } = plan(read.table, options);
    const update = gptUpdate(read, table, options);
    const range = (p: GptPartition): ByteRange => ({ start: p.firstLba * table.sectorSize, end: (p.lastLba + 1) * table.sectorSize });
    const places = parts.map(({ number }) => range(partitionOf(table, number)));
    const contents = parts.map(({ signature }, i) => encodeSignaturePartition(signature, sizeOf(places[i] as ByteRange)));
    const output = createOutput(target);
    try {
      await copyData(disk, output, places);
      output.truncate(Math.max(disk.size, table.sectors * table.sectorSize));
      contents.forEach((bytes, i) => {
        output.writeAt((places[i] as ByteRange).start, bytes);
      });
      for (const { offset, bytes } of update) output.writeAt(offset, bytes);
      disk.checkUnchanged();
      output.commit();
    } finally {
      output.abort();
    }
    return { table, partitions: parts.map(({ data, number }) => ({ data: partitionOf(table, data), veritySig: partitionOf(table, number) })) };
  } finally {
    disk.close();
  }
}

interface Part extends DiskSignature {
  /** Number of the partition that takes it. */
  readonly number: number;
}

function plan(old: GptTable, { signatures, seed }: SignDiskOptions): { readonly table: GptTable; readonly parts: readonly Part[] } {
  let table = old;
  const parts: Part[] = [];
  for (const one of signatures) {
    const data = partitionOf(table, one.data);
    const type = signatureTypeOf(data);
    checkAnnounced(data, one.signature.rootHash);
    const place = old.partitions.filter((p) => p.type === data.type).indexOf(data);
    const existing = old.partitions.filter((p) => p.type === type)[place]?.number;
    if (parts.some(({ data: other }) => other === one.data)) throw new VerityError("BAD_GPT", "a data partition is named twice", { found: String(one.data) });
    if (existing === undefined) {
      const content = encodeSignaturePartition(one.signature);
      const name = `${data.name}-verity-sig`.slice(0, 36);
      const added = appendPartition(table, { type, uuid: freeUuid(table, seed, type), name, attributes: partitionFlags.readOnly, size: content.length });
      table = added.table;
      parts.push({ ...one, number: added.number });
    } else parts.push({ ...one, number: existing });
  }
  return { table, parts };
}

/** As systemd-repart derives it; the next one when a partition has it already. */
function freeUuid(table: GptTable, seed: string, type: string): string {
  const used = new Set(table.partitions.map((p) => p.uuid));
  let index = table.partitions.filter((p) => p.type === type).length;
  while (used.has(derivePartitionUuid(seed, type, index))) index++;
  return derivePartitionUuid(seed, type, index);
}

function signatureTypeOf({ type, number }: GptPartition): string {
  const types = Object.values(architectureTypes).flatMap(({ root, usr }) => [root, usr]);
  const found = types.find(({ data }) => data === type);
  if (found !== undefined) return found.veritySig;
  const facts = { field: "type", expected: "a root or usr partition", found: type };
  throw new VerityError("BAD_GPT", `partition ${number} has a type that has no signature type`, facts);
}

function checkAnnounced({ uuid, number }: GptPartition, rootHash: Uint8Array): void {
  if (rootHashUuids(rootHash).data === uuid) return;
  const facts = { expected: `the UUID ${rootHashUuids(rootHash).data}, the first half of ${toHex(rootHash)}`, found: uuid };
  throw new VerityError("BAD_ROOT_HASH", `partition ${number} announces another root hash than the one that is signed`, facts);
}

function partitionOf(table: GptTable, number: number): GptPartition {
  const found = table.partitions.find((p) => p.number === number);
  if (found === undefined) throw new VerityError("BAD_GPT", "there is no such partition", { field: "number", found: String(number) });
  return found;
}

function sizeOf({ start, end }: ByteRange): number {
  return end - start;
}
