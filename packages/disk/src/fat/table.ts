// Reads the table of a FAT file system: chains of clusters, none of which may belong to two.

import { type ByteSource, equalBytes, isZero } from "@imgkit/bytes";
import type { FatFinding } from "./findings.ts";
import { badCluster, cleanBits, endOfChain, type FatType, FIRST_CLUSTER } from "./format.ts";
import { corrupt, type Volume } from "./volume.ts";

/** Clusters that follow one another. */
export interface Run {
  readonly first: number;
  count: number;
}

/** Bytes of the table that are read at a time: whole entries of every type. */
const WINDOW = 3 * 16_384;
/** So many windows are kept. */
const WINDOWS = 64;

export class Table {
  readonly #source: ByteSource;
  readonly #volume: Volume;
  readonly #windows = new Map<number, DataView>();
  /** One bit for each cluster that a chain has. */
  readonly #taken: Uint8Array;

  constructor(source: ByteSource, volume: Volume) {
    this.#source = source;
    this.#volume = volume;
    this.#taken = new Uint8Array(Math.ceil((volume.clusters + FIRST_CLUSTER) / 8));
  }

  /**
   * The clusters of a chain, which are taken from now on.
   * @throws DiskError FAT_CORRUPT when it leads outside, into a free or bad cluster, or to a cluster that is taken (so it ends).
   */
  async chain(first: number, path: string): Promise<Run[]> {
    const { clusters, type } = this.#volume;
    const runs: Run[] = [];
    let last: Run | undefined;
    for (let cluster = first; ; ) {
      if (cluster < FIRST_CLUSTER || cluster >= clusters + FIRST_CLUSTER) {
        throw this.#wrong("a chain that leads to no cluster", cluster, path, `a cluster from 2 to ${clusters + 1}`);
      }
      if (!this.#take(cluster)) throw this.#wrong("a cluster in two chains, or twice in one", cluster, path, "a cluster of its own");
      if (last !== undefined && last.first + last.count === cluster) last.count += 1;
      else {
        last = { first: cluster, count: 1 };
        runs.push(last);
      }
      const next = this.#peek(cluster) ?? (await this.#get(cluster));
      if (next > badCluster[type]) return runs;
      if (next === 0 || next === badCluster[type])
        throw this.#wrong(`a chain that leads to a ${next === 0 ? "free" : "bad"} cluster`, cluster, path, "the next");
      cluster = next;
    }
  }

  #wrong(sentence: string, cluster: number, path: string, expected: string): Error {
    const { fatAt, type } = this.#volume;
    return corrupt(sentence, fatAt + Math.floor((cluster * type) / 8), { path, field: "FAT", expected, found: `cluster ${cluster}` });
  }

  #take(cluster: number): boolean {
    const bit = 1 << (cluster & 7);
    const byte = this.#taken[cluster >>> 3] as number;
    this.#taken[cluster >>> 3] = byte | bit;
    return (byte & bit) === 0;
  }

  #isTaken(cluster: number): boolean {
    return ((this.#taken[cluster >>> 3] as number) & (1 << (cluster & 7))) !== 0;
  }

  /** An entry, when its window is there. */
  #peek(cluster: number): number | undefined {
    const at = entryAt(this.#volume.type, cluster);
    const window = this.#windows.get(Math.floor(at / WINDOW));
    return window === undefined ? undefined : entryIn(this.#volume.type, window, at % WINDOW, cluster);
  }

  async #get(cluster: number): Promise<number> {
    const at = entryAt(this.#volume.type, cluster);
    return entryIn(this.#volume.type, await this.#window(cluster), at % WINDOW, cluster);
  }

  /** The window that has a cluster's entry. */
  async #window(cluster: number): Promise<DataView> {
    const { fatAt, fatSize, type } = this.#volume;
    const index = Math.floor(entryAt(type, cluster) / WINDOW);
    const known = this.#windows.get(index);
    if (known !== undefined) return known;
    const start = fatAt + index * WINDOW;
    const bytes = await this.#source.read(start, Math.min(start + WINDOW, fatAt + fatSize));
    if (this.#windows.size >= WINDOWS) this.#windows.clear();
    const window = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#windows.set(index, window);
    return window;
  }

  /** What the table says besides its chains; call it when all chains were read. The number of free clusters comes with it. */
  async check(): Promise<{ findings: FatFinding[]; free: number }> {
    const { type, fatAt } = this.#volume;
    const findings = await this.#compareCopies();
    const flags = await this.#get(1);
    if ((flags & cleanBits[type]) !== cleanBits[type]) {
      const facts = { offset: fatAt + type / 8, length: type / 8, expected: `0x${endOfChain[type].toString(16)}`, found: `0x${flags.toString(16)}` };
      findings.push({ code: "DIRTY", message: "the table says that the volume was not unmounted, or had errors", ...facts });
    }
    const { free, lost, firstLost } = await this.#count();
    if (lost > 0) {
      const offset = fatAt + entryAt(type, firstLost);
      const message = `${lost} clusters are in use and belong to no file, the first of them cluster ${firstLost}`;
      findings.push({ code: "LOST_CLUSTERS", message, offset, length: Math.ceil(type / 8), expected: "0", found: `${lost}` });
    }
    return { findings, free };
  }

  async #count(): Promise<{ free: number; lost: number; firstLost: number }> {
    const { type, clusters } = this.#volume;
    const end = clusters + FIRST_CLUSTER;
    const inWindow = (WINDOW * 8) / type;
    let free = 0;
    let lost = 0;
    let firstLost = 0;
    for (let start = 0; start < end; start += inWindow) {
      const window = await this.#window(start);
      const stop = Math.min(end, start + inWindow);
      const begin = Math.max(FIRST_CLUSTER, start);
      if (isZero(new Uint8Array(window.buffer, window.byteOffset, window.byteLength))) {
        free += stop - begin;
        continue;
      }
      for (let cluster = begin; cluster < stop; cluster++) {
        const value = entryIn(type, window, entryAt(type, cluster) - entryAt(type, start), cluster);
        if (value === 0) free += 1;
        else if (value !== badCluster[type] && !this.#isTaken(cluster)) {
          if (lost === 0) firstLost = cluster;
          lost += 1;
        }
      }
    }
    return { free, lost, firstLost };
  }

  async #compareCopies(): Promise<FatFinding[]> {
    const { copies, fatSize, clusters, type } = this.#volume;
    const used = Math.min(fatSize, Math.ceil(((clusters + FIRST_CLUSTER) * type) / 8));
    const [first = 0, ...others] = copies;
    const findings: FatFinding[] = [];
    for (const [i, copy] of others.entries()) {
      const at = await this.#firstDifference(first, copy, used);
      if (at === undefined) continue;
      findings.push({ code: "FAT_COPIES", message: `copy ${i + 2} of the table is not the first`, offset: copy + at, length: 1 });
    }
    return findings;
  }

  async #firstDifference(a: number, b: number, length: number): Promise<number | undefined> {
    for (let at = 0; at < length; at += WINDOW) {
      const end = Math.min(length, at + WINDOW);
      const left = await this.#source.read(a + at, a + end);
      const right = await this.#source.read(b + at, b + end);
      if (equalBytes(left, right)) continue;
      const different = left.findIndex((byte, i) => byte !== right[i]);
      return at + different;
    }
    return undefined;
  }
}

function entryAt(type: FatType, cluster: number): number {
  return type === 12 ? Math.floor(cluster / 2) * 3 : (cluster * type) / 8;
}

function entryIn(type: FatType, window: DataView, at: number, cluster: number): number {
  if (type === 16) return window.getUint16(at, true);
  if (type === 32) return window.getUint32(at, true) & 0x0fff_ffff;
  // Two entries share three bytes.
  return cluster % 2 === 0 ? window.getUint16(at, true) & 0xfff : window.getUint16(at + 1, true) >>> 4;
}
