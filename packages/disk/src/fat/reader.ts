// Reads a FAT12, FAT16 or FAT32 file system back into a Tree: what `createFat` writes, and those of mkfs.fat, mtools, Linux and
// Windows. It is a stranger's bytes: a cluster belongs to one chain once, so no chain and no directory can go on for ever, and
// contents stay where they are until somebody reads them.

import { type ByteRange, type ByteSource, concatSource, sliceSource } from "@imgkit/bytes";
import { joinPath, type NodeMeta, noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { DirectoryParser, type FoundEntry } from "./directory.ts";
import type { FatFinding } from "./findings.ts";
import { ATTR_DIRECTORY, ATTR_READ_ONLY, ATTR_VOLUME_ID, DIRECTORY_LIMIT, ENTRY_SIZE, type FatType, FIRST_CLUSTER } from "./format.ts";
import { readLabel } from "./names.ts";
import { Table } from "./table.ts";
import { decodeTime } from "./time.ts";
import { checkReserved, corrupt, readVolume, type Volume } from "./volume.ts";

export interface FatContents {
  /** Its contents are ranges of the source. Files have mode 0644, read-only ones 0444; directories 0755; owners are 0:0. */
  readonly tree: Tree;
  readonly type: FatType;
  readonly volumeId: number;
  /** Of the root directory's entry for it; `undefined` when there is none. */
  readonly label: string | undefined;
  readonly sectorSize: number;
  /** In bytes. */
  readonly clusterSize: number;
  readonly clusters: number;
  readonly freeClusters: number;
  /** In bytes; the source may be longer. */
  readonly size: number;
  /** What is not as it should be, though it can be read. */
  readonly findings: readonly FatFinding[];
}

/**
 * The tree of a FAT file system. Times are taken for UTC; the root has the time of the label's entry, or 0.
 * @throws DiskError FAT_CORRUPT, with offset and path, for one whose structures contradict each other or lead outside of it.
 * CoreError for paths that no tree holds, such as a name of more than 255 bytes.
 */
export async function readFat(source: ByteSource): Promise<FatContents> {
  const volume = await readVolume(source);
  const table = new Table(source, volume);
  const walk = new Walk(source, volume, table);
  const nodes = await walk.run();
  const { findings, free } = await table.check();
  const { type, sectorSize, clusterSize, clusters, size, boot } = volume;
  return {
    tree: Tree.from(nodes),
    type,
    volumeId: boot.BS_VolID,
    label: walk.label,
    sectorSize,
    clusterSize,
    clusters,
    freeClusters: free,
    size,
    findings: [...(await checkReserved(source, volume, free)), ...findings, ...walk.findings],
  };
}

interface Folder {
  readonly path: string;
  /** Where its entries stand, in bytes from the start of the file system. */
  readonly ranges: readonly ByteRange[];
  readonly cluster: number;
  readonly parent: number;
}

/** Linux's limit on a path. It bounds what a chain of directories can cost. */
const PATH_MAX = 4095;

class Walk {
  readonly findings: FatFinding[] = [];
  label: string | undefined;
  readonly #source: ByteSource;
  readonly #volume: Volume;
  readonly #table: Table;
  readonly #nodes: TreeNode[] = [];
  readonly #folders: Folder[] = [];
  #rootTime = 0n;

  constructor(source: ByteSource, volume: Volume, table: Table) {
    this.#source = source;
    this.#volume = volume;
    this.#table = table;
  }

  async run(): Promise<TreeNode[]> {
    const { type, rootAt, rootSize, rootCluster } = this.#volume;
    if (type === 32) this.#folders.push(await this.#folder("", rootCluster, 0));
    else this.#folders.push({ path: "", ranges: [{ start: rootAt, end: rootAt + rootSize }], cluster: 0, parent: 0 });
    for (let next = this.#folders.pop(); next !== undefined; next = this.#folders.pop()) await this.#readFolder(next);
    this.#nodes.push({ type: "directory", ...this.#meta("", 0o755, this.#rootTime) });
    return this.#nodes;
  }

  #meta(path: string, mode: number, mtime: bigint): NodeMeta {
    return { path, mode, uid: 0, gid: 0, mtime, xattrs: noXattrs };
  }

  async #readFolder(folder: Folder): Promise<void> {
    const parser = new DirectoryParser(folder.path, this.findings);
    let dots = 0;
    for await (const { bytes, offset } of this.#entries(folder)) {
      const found = parser.next(bytes, offset);
      if (found === "end") break;
      if (found === undefined) continue;
      if (found.name === "." || found.name === "..") dots += this.#isDot(folder, found) ? 1 : 0;
      else await this.#addEntry(folder, found);
    }
    const { path, ranges } = folder;
    if (path === "" || dots === 2) return;
    const offset = ranges[0]?.start ?? 0;
    this.findings.push({ code: "DOT_ENTRY", message: `${path}: not one . and one .. that are its own`, path, offset, length: 2 * ENTRY_SIZE });
  }

  async *#entries({ ranges }: Folder): AsyncGenerator<{ bytes: Uint8Array; offset: number }, void, undefined> {
    for (const { start, end } of ranges) {
      for (let at = start; at < end; at += CHUNK) {
        const bytes = await this.#source.read(at, Math.min(end, at + CHUNK));
        for (let entry = 0; entry < bytes.length; entry += ENTRY_SIZE) yield { bytes: bytes.subarray(entry, entry + ENTRY_SIZE), offset: at + entry };
      }
    }
  }

  #isDot({ path, cluster, parent }: Folder, { name, values, offset }: FoundEntry): boolean {
    if (path === "") throw corrupt("the root has an entry that only other directories have", offset, { found: name });
    return (values.DIR_Attr & ATTR_DIRECTORY) !== 0 && this.#cluster(values) === (name === "." ? cluster : parent);
  }

  #cluster({ DIR_FstClusHI, DIR_FstClusLO }: FoundEntry["values"]): number {
    return this.#volume.type === 32 ? DIR_FstClusHI * 0x1_0000 + DIR_FstClusLO : DIR_FstClusLO;
  }

  async #addEntry(folder: Folder, found: FoundEntry): Promise<void> {
    const { name, values, offset } = found;
    const { DIR_Attr: attributes, DIR_FileSize: size } = values;
    if (attributes & ATTR_VOLUME_ID) {
      if (folder.path !== "" || this.label !== undefined) return;
      this.label = readLabel(values.DIR_Name);
      this.#rootTime = this.#time(found, "");
      return;
    }
    if (name === "" || /[/\0]/.test(name)) throw corrupt("a name that no path can have", offset, { path: folder.path, found: JSON.stringify(name) });
    const path = joinPath(folder.path, name);
    if (path.length > PATH_MAX) throw corrupt("a path longer than any system takes", offset, { path: name, expected: `at most ${PATH_MAX} bytes` });
    const mtime = this.#time(found, path);
    const cluster = this.#cluster(values);
    if (attributes & ATTR_DIRECTORY) {
      this.#nodes.push({ type: "directory", ...this.#meta(path, 0o755, mtime) });
      this.#folders.push(await this.#folder(path, cluster, folder.path === "" ? 0 : folder.cluster));
      return;
    }
    const mode = attributes & ATTR_READ_ONLY ? 0o444 : 0o644;
    this.#nodes.push({ type: "file", ...this.#meta(path, mode, mtime), content: await this.#content(path, cluster, size, offset) });
  }

  #time({ values, offset }: FoundEntry, path: string): bigint {
    const { DIR_WrtDate: date, DIR_WrtTime: time } = values;
    // Some firmware writes no time at all.
    if (date === 0 && time === 0) return 0n;
    const found = decodeTime({ date, time });
    if (found === undefined) {
      const facts = { path, offset: offset + 22, length: 4, found: `date 0x${date.toString(16)}, time 0x${time.toString(16)}` };
      this.findings.push({ code: "TIME", message: `${path}: a time that is none`, ...facts });
    }
    return found ?? 0n;
  }

  async #folder(path: string, cluster: number, parent: number): Promise<Folder> {
    const runs = await this.#table.chain(cluster, path);
    const ranges = runs.map(({ first, count }) => ({ start: this.#at(first), end: this.#at(first + count) }));
    const size = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    if (size > Math.max(DIRECTORY_LIMIT, this.#volume.clusterSize)) {
      throw corrupt("a directory larger than any may be", this.#at(cluster), { path, expected: `at most ${DIRECTORY_LIMIT} bytes`, found: `${size}` });
    }
    return { path, ranges, cluster, parent };
  }

  #at(cluster: number): number {
    return this.#volume.dataAt + (cluster - FIRST_CLUSTER) * this.#volume.clusterSize;
  }

  async #content(path: string, cluster: number, size: number, offset: number): Promise<ByteSource> {
    const { clusterSize } = this.#volume;
    if (cluster === 0) {
      if (size > 0) throw corrupt("a file of some bytes without a cluster", offset, { path, field: "DIR_FileSize", expected: "0", found: `${size}` });
      return sliceSource(this.#source, 0, 0);
    }
    const runs = await this.#table.chain(cluster, path);
    const have = runs.reduce((sum, { count }) => sum + count, 0) * clusterSize;
    if (have < size)
      throw corrupt("a file that is longer than its chain", offset, { path, field: "DIR_FileSize", expected: `at most ${have}`, found: `${size}` });
    if (have - size >= clusterSize) {
      const facts = { expected: `${Math.ceil(size / clusterSize)} clusters`, found: `${have / clusterSize}` };
      this.findings.push({ code: "CHAIN_LENGTH", message: `${path}: a chain that is longer than the file`, path, offset, length: ENTRY_SIZE, ...facts });
    }
    const parts = runs.map(({ first, count }) => sliceSource(this.#source, this.#at(first), this.#at(first + count)));
    return sliceSource(parts.length === 1 ? (parts[0] as ByteSource) : concatSource(parts), 0, size);
  }
}

const CHUNK = 65_536;
