// Repair: from the root hash down, every block that is not what its digest says is decoded from the others of its round. A block whose
// hash fails is an erasure, so the code reaches twice as far as it does for errors at unknown places. Nothing is written that has
// not the right hash.

import type { ByteSource } from "@imgkit/bytes";
import { type HashEngine, portableEngine } from "../engine.ts";
import { VerityError } from "../errors.ts";
import { FindingList, type VerityFinding } from "../findings.ts";
import type { VerityLayout } from "../layout.ts";
import { MessageBlocks } from "./blocks.ts";
import type { FecLayout } from "./layout.ts";
import { Columns, FecMessage } from "./message.ts";
import { RoundRepair } from "./round.ts";

/** What is repaired: it reads as it was damaged, and then as what has been written. */
export interface RepairTarget {
  readonly data: ByteSource;
  readonly hash: ByteSource;
  /** Replaces one block. Offsets count from the start of that source. The array may be used again when it resolves. */
  write(source: "data" | "hash", offset: number, bytes: Uint8Array): void | Promise<void>;
}

export interface RepairOptions {
  /** Default: the portable engine. */
  readonly engine?: HashEngine;
  /** How many findings to keep; default 10,000. Neighbouring blocks are one finding. */
  readonly maxFindings?: number;
  /** Called now and then with the data bytes looked at and their total. */
  readonly onProgress?: (bytesDone: number, total: number) => void;
}

export interface Repair {
  /** True exactly when every block of data and tree is now what the root hash says. */
  readonly ok: boolean;
  /** Blocks that were replaced. */
  readonly repaired: { readonly data: number; readonly tree: number };
  /** Blocks that are still bad, each range once. What lies below a bad block of the tree is `certain: false`. */
  readonly findings: readonly VerityFinding[];
  /** False when there were more findings than `maxFindings`. */
  readonly complete: boolean;
}

/**
 * Repairs data and tree by their parity, as far as it reaches: per round, as many bad blocks as there are roots. Superblock and whatever
 * follows the tree are left alone: no digest proves them.
 * @param parity its first byte is the parity's first byte; what is missing counts as wrong.
 * @throws VerityError BAD_ROOT_HASH when it has not the algorithm's length.
 */
export async function repairVerity(
  target: RepairTarget,
  parity: ByteSource,
  rootHash: Uint8Array,
  tree: VerityLayout,
  fec: FecLayout,
  options: RepairOptions = {},
): Promise<Repair> {
  if (rootHash.length !== tree.digestSize) {
    const expected = `${tree.digestSize} bytes (${tree.hash})`;
    throw new VerityError("BAD_ROOT_HASH", "the root hash has the wrong length", { expected, found: `${rootHash.length} bytes` });
  }
  const message = new FecMessage(fec, target.data, target.hash);
  const blocks = new MessageBlocks(message, tree, rootHash, options.engine ?? portableEngine);
  const repaired = { data: 0, tree: 0 };
  const write = async (number: number, bytes: Uint8Array): Promise<void> => {
    blocks.forget();
    const inData = number < tree.dataBlocks;
    const at = number * fec.blockSize;
    await target.write(inData ? "data" : "hash", inData ? at : fec.hashStart + at - fec.dataSize, bytes);
    repaired[inData ? "data" : "tree"] += 1;
  };
  const rounds = new RoundRepair(message, await Columns.create(message, fec.blockSize), blocks, parity, write);
  const list = new FindingList(options.maxFindings ?? 10_000);
  for (let level = tree.levels.length - 1; level >= -1; level--)
    await repairLevel(level, { message, blocks, rounds, list, write, onProgress: options.onProgress });
  const findings = list.result();
  return { ok: findings.length === 0 && !list.overflow, repaired, findings, complete: !list.overflow };
}

interface Work {
  readonly message: FecMessage;
  readonly blocks: MessageBlocks;
  readonly rounds: RoundRepair;
  readonly list: FindingList;
  readonly write: (number: number, bytes: Uint8Array) => Promise<void>;
  readonly onProgress: RepairOptions["onProgress"];
}

/** Looks at all blocks of a level, −1 for the data, when the levels above have been repaired or given up. */
async function repairLevel(level: number, { message, blocks, rounds, list, write, onProgress }: Work): Promise<void> {
  const { tree } = blocks;
  const { blockSize } = message.layout;
  const at = tree.levels[level];
  const count = level < 0 ? tree.dataBlocks : (at?.blocks ?? 0);
  const bytes = new Uint8Array(blockSize);
  // What failed once fails again: nothing above this level changes any more.
  const failed = new Set<number>();
  for (let block = 0; block < count; block++) {
    const place = { level, block };
    const number = blocks.numberOf(place);
    const read = (): void | Promise<void> => message.readInto(bytes, number * blockSize);
    await read();
    const parent = blocks.parentOf(place);
    const certain = parent === undefined || !blocks.lost.has(parent);
    let good = await blocks.matches(place, bytes);
    const round = number % message.layout.rounds;
    if (!good && certain && level >= 0) {
      // Where all below is as it was, the block follows from it, however much else is bad in its round.
      const rebuilt = await blocks.rebuilt(place);
      good = await blocks.matches(place, rebuilt);
      if (good) await write(number, rebuilt);
    }
    if (!good && certain && !failed.has(round)) {
      if (!(await rounds.repair(round, level))) failed.add(round);
      await read();
      good = await blocks.matches(place, bytes);
    }
    // Below a lost block even one that has the digest which stands there now is proven by nothing.
    if (level >= 0 && (!good || !certain)) blocks.lost.add(number);
    if (!good) {
      const offset = level < 0 ? block * blockSize : (at?.offset ?? 0) + block * blockSize;
      list.addBad({ kind: level < 0 ? "data" : "tree", level: level < 0 ? undefined : level, block, blockSize, offset, certain, ...blocks.seen });
    }
    if (level < 0 && block % 4096 === 4095) onProgress?.((block + 1) * blockSize, tree.dataSize);
  }
  if (level < 0) onProgress?.(tree.dataSize, tree.dataSize);
}
