import type { ByteRange } from "@imgkit/bytes";
import { createOutput, type FileSource, type OutputFile, openFile } from "@imgkit/bytes/node";
import { type BuiltTree, layoutFor } from "./build.ts";
import { copyData } from "./copy.node.ts";
import { architectureTypes, partitionFlags, partitionTypeName, rootHashUuids } from "./discoverable.ts";
import { VerityError } from "./errors.ts";
import { type AppendedPartition, appendPartition } from "./gpt/append.ts";
import { type GptUpdateOptions, gptUpdate } from "./gpt/edit.ts";
import { type GptRead, readGpt } from "./gpt/read.ts";
import type { GptPartition, GptTable } from "./gpt/table.ts";
import { dmModCreate } from "./kernel.ts";
import type { VerityLayout } from "./layout.ts";
import type { VerityParams } from "./params.ts";
import { buildTreeInFiles, type ThreadOptions } from "./ranges.node.ts";

/** A data partition to protect, by number. */
export interface StampPair {
  readonly data: number;
  /** The partition that takes the tree, whatever it holds. Absent: the next one of the matching type, or a new one. */
  readonly verity?: number;
  /**
   * Type of a new verity partition; needed when the data partition's type has no verity type of its own. One of that type that an
   * earlier run added for this partition (by its name) is filled again.
   */
  readonly verityType?: string;
}

export interface StampOptions extends VerityParams, ThreadOptions, GptUpdateOptions {
  /** UUID of every superblock. */
  readonly uuid: string;
  /** Default: every root and usr partition of the disk. */
  readonly pairs?: readonly StampPair[];
  readonly onProgress?: (bytesDone: number, total: number) => void;
}

export interface Stamped {
  readonly data: GptPartition;
  readonly verity: GptPartition;
  readonly rootHash: Uint8Array;
  readonly layout: VerityLayout;
}

export interface StampResult {
  readonly table: GptTable;
  readonly pairs: readonly Stamped[];
  /** `roothash=` and `usrhash=` (of the first of each) for systemd's initrd, and `dm-mod.create=` for a kernel without one. */
  readonly kernelOptions: readonly string[];
}

/**
 * Protects data partitions of a ready disk image by verity: builds the trees, adds or fills the verity partitions, and gives each
 * pair the UUIDs that announce its root hash. The disk grows when there is no room. `target` may be `source`: it appears whole
 * or not at all, so a stopped run leaves the old disk.
 * @throws VerityError NOT_GPT; HYBRID_MBR; BAD_GPT naming the partition; BAD_DATA_SIZE when a data partition is no whole number of blocks;
 * TOO_LARGE when a given verity partition cannot hold its tree. BytesError as `openFile` and `createOutput`.
 */
export async function stampDisk(source: string, target: string, options: StampOptions): Promise<StampResult> {
  const disk = openFile(source);
  try {
    const read = await readGpt(disk);
    const plan = planStamp(read.table, options);
    // What cannot be written is better known before the disk is copied.
    gptUpdate(read, plan.table, options);
    const output = createOutput(target);
    try {
      const result = await writeStamped(disk, output, read, plan, options);
      disk.checkUnchanged();
      output.commit();
      return result;
    } finally {
      output.abort();
    }
  } finally {
    disk.close();
  }
}

interface Plan {
  readonly table: GptTable;
  readonly pairs: readonly { readonly data: number; readonly verity: number; readonly layout: VerityLayout }[];
}

function planStamp(old: GptTable, options: StampOptions): Plan {
  let table = old;
  const wanted = options.pairs ?? old.partitions.filter((p) => verityTypeOf(p.type) !== undefined).map((p) => ({ data: p.number }));
  if (wanted.length === 0) throw new VerityError("BAD_GPT", "the disk has no root or usr partition", { hint: "Name the data partitions." });
  // A partition has one part in one pair: a tree must not replace what another pair protects.
  const taken = new Set(wanted.map((pair) => pair.data));
  if (taken.size < wanted.length)
    throw new VerityError("BAD_GPT", "a data partition is named twice", { field: "pairs", found: [...wanted.map((pair) => pair.data)].join(", ") });
  const pairs = wanted.map((pair: StampPair) => {
    const data = partitionOf(table, pair.data);
    const layout = layoutFor(sizeOf(data, table), { ...options, superblock: true, hashOffset: 0 });
    const existing = treePartition(table, data, pair, taken);
    let verity = existing?.number ?? 0;
    if (existing === undefined) ({ table, number: verity } = withVerity(table, data, pair.verityType ?? verityTypeOf(data.type), layout));
    else if (sizeOf(existing, table) < layout.size) throw tooSmall(existing, layout, sizeOf(existing, table));
    taken.add(verity);
    return { data: data.number, verity, layout };
  });
  return { table, pairs };
}

/** The partition of the disk that takes a tree; undefined: a new one does. */
function treePartition(table: GptTable, data: GptPartition, pair: StampPair, taken: ReadonlySet<number>): GptPartition | undefined {
  if (pair.verity !== undefined) {
    if (!taken.has(pair.verity)) return partitionOf(table, pair.verity);
    throw new VerityError("BAD_GPT", `partition ${pair.verity} cannot take the tree: it has another part in a pair`, {
      field: "verity",
      hint: "Name another one.",
    });
  }
  // Of several pairs of one type (A and B of an updated system) each takes the next tree.
  const free = table.partitions.filter((p) => !taken.has(p.number));
  if (pair.verityType === undefined) return free.find((p) => p.type === verityTypeOf(data.type));
  // A type that the user names may be that of anything: only what an earlier run has added is filled again.
  return free.find((p) => p.type === pair.verityType?.toLowerCase() && p.name === verityName(data));
}

function verityName(data: GptPartition): string {
  return `${data.name}-verity`.slice(0, 36);
}

const verityTypes: ReadonlyMap<string, string> = new Map(
  Object.values(architectureTypes).flatMap(({ root, usr }) => [
    [root.data, root.verity],
    [usr.data, usr.verity],
  ]),
);

function verityTypeOf(type: string): string | undefined {
  return verityTypes.get(type);
}

function partitionOf(table: GptTable, number: number): GptPartition {
  const found = table.partitions.find((p) => p.number === number);
  if (found === undefined) throw new VerityError("BAD_GPT", "there is no such partition", { field: "number", found: String(number) });
  return found;
}

function sizeOf(p: GptPartition, table: GptTable): number {
  return (p.lastLba - p.firstLba + 1) * table.sectorSize;
}

function tooSmall(partition: GptPartition, layout: VerityLayout, found: number): VerityError {
  return new VerityError("TOO_LARGE", `partition ${partition.number} cannot hold the tree`, {
    expected: `at least ${layout.size} bytes`,
    found: `${found} bytes`,
  });
}

/** The table with a new partition behind all others; the disk grows by what it needs. */
function withVerity(table: GptTable, data: GptPartition, type: string | undefined, layout: VerityLayout): AppendedPartition {
  if (type === undefined) {
    const hint = "Say the type of its verity partition.";
    throw new VerityError("BAD_GPT", `partition ${data.number} has a type that has no verity type`, { field: "type", found: data.type, hint });
  }
  // A placeholder until the root hash is known: the data partition's UUID with another end.
  const used = new Set(table.partitions.map((p) => p.uuid));
  let uuid = data.uuid;
  for (let n = 0; used.has(uuid); n++) uuid = `${data.uuid.slice(0, -4)}${n.toString(16).padStart(4, "0")}`;
  const added = { type, uuid, name: verityName(data), attributes: partitionFlags.readOnly, size: layout.size };
  return appendPartition(table, added);
}

async function writeStamped(disk: FileSource, output: OutputFile, read: GptRead, plan: Plan, options: StampOptions): Promise<StampResult> {
  const { sectorSize, sectors } = plan.table;
  const range = (p: GptPartition): ByteRange => ({ start: p.firstLba * sectorSize, end: (p.lastLba + 1) * sectorSize });
  // Old trees are not copied: what a new one does not cover is zero.
  await copyData(
    disk,
    output,
    plan.pairs.map(({ verity }) => range(partitionOf(plan.table, verity))),
  );
  output.truncate(Math.max(disk.size, sectors * sectorSize));
  const built: BuiltTree[] = [];
  for (const pair of plan.pairs) {
    const data = range(partitionOf(plan.table, pair.data));
    const tree = range(partitionOf(plan.table, pair.verity));
    const from = { fd: output.fd, path: output.path, start: data.start, size: data.end - data.start };
    built.push(await buildTreeInFiles(from, { fd: output.fd, path: output.path, start: tree.start }, { ...options, superblock: true, hashOffset: 0 }));
  }
  const table = announced(plan, built);
  for (const { offset, bytes } of gptUpdate(read, table, options)) output.writeAt(offset, bytes);
  const pairs = plan.pairs.map(({ data, verity }, i) => ({
    data: partitionOf(table, data),
    verity: partitionOf(table, verity),
    ...(built[i] as BuiltTree),
  }));
  return { table, pairs, kernelOptions: kernelOptionsOf(pairs) };
}

/** The table with the UUIDs that the root hashes give, all at once: A may take those that B has had until now. */
function announced({ table, pairs }: Plan, built: readonly BuiltTree[]): GptTable {
  const uuids = new Map<number, string>();
  built.forEach(({ rootHash }, i) => {
    const { data, verity } = rootHashUuids(rootHash);
    const pair = pairs[i] as Plan["pairs"][number];
    uuids.set(pair.data, data).set(pair.verity, verity);
  });
  const partitions = table.partitions.map((p) => ({ ...p, uuid: uuids.get(p.number) ?? p.uuid }));
  const owners = new Map<string, number>();
  for (const { uuid, number } of partitions) {
    const other = owners.get(uuid);
    if (other !== undefined) throw sameUuid(other, number, uuid);
    owners.set(uuid, number);
  }
  return { ...table, partitions };
}

function sameUuid(a: number, b: number, uuid: string): VerityError {
  return new VerityError("BAD_GPT", `partitions ${a} and ${b} would have the same UUID, as their root hashes are equal`, {
    field: "uuid",
    expected: "data or salts that differ",
    found: uuid,
    hint: "Where two partitions hold the same data, stamp one at a time, each with a salt of its own.",
  });
}

function kernelOptionsOf(pairs: readonly Stamped[]): string[] {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  // Of A and B of an updated system one is booted: the first.
  const hashes = (["root", "usr"] as const).flatMap((use) => {
    const first = pairs.find(({ data }) => partitionTypeName(data.type)?.split("-")[0] === use);
    return first === undefined ? [] : [`${use}hash=${hex(first.rootHash)}`];
  });
  const names = new Set<string>();
  const devices = pairs.map(({ data, verity, rootHash, layout }) => {
    const plain = (data.name || `part${data.number}`).replace(/[^A-Za-z0-9._-]/g, "_");
    const name = names.has(plain) ? `${plain}-${data.number}` : plain;
    names.add(name);
    return { name, layout, rootHash, dataUuid: data.uuid, verityUuid: verity.uuid };
  });
  return [...hashes, dmModCreate(devices)];
}
