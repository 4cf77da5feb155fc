import type { ByteSource } from "@imgkit/bytes";
import { layoutFor } from "./build.ts";
import { type HashEngine, portableEngine } from "./engine.ts";
import { VerityError } from "./errors.ts";
import { FindingList, type VerityFinding } from "./findings.ts";
import { type VerityLayout, verityLayout } from "./layout.ts";
import type { VerityParams } from "./params.ts";
import { checkHashOffset, decodeSuperblock, type Superblock, superblockPadding, superblockStruct } from "./superblock.ts";
import { TreeCheck } from "./treecheck.ts";

export interface VerifyOptions {
  /** Where the hash area starts in the hash source, in bytes; default 0. */
  readonly hashOffset?: number;
  /** The parameters of a tree without superblock. Absent: they are read from the superblock. */
  readonly params?: VerityParams & { readonly dataBlocks?: number };
  /** Default: the portable engine. */
  readonly engine?: HashEngine;
  /** How many findings to keep; default 10,000. Neighbouring bad blocks are one finding. */
  readonly maxFindings?: number;
  /** Called now and then with the data bytes checked and their total. */
  readonly onProgress?: (bytesDone: number, total: number) => void;
}

export interface VerityCheck {
  /** True exactly when there is no finding: all that the root hash covers is there and unchanged. */
  readonly ok: boolean;
  /** Whether the top of the tree matches the root hash. Without it nothing below is proven. */
  readonly rootMatches: boolean;
  /** Every bad range: superblock, then the tree from the top down, then the data. */
  readonly findings: readonly VerityFinding[];
  /** False when there were more findings than `maxFindings`. */
  readonly complete: boolean;
  /** Undefined when there is no usable superblock. */
  readonly layout: VerityLayout | undefined;
  readonly superblock: Superblock | undefined;
}

/**
 * Verifies data and tree against a root hash and names every bad range, not only the first.
 *
 * What comes from the disk never throws: a broken superblock, a source that is too short and blocks that do not match are
 * findings.
 * @throws VerityError BAD_ROOT_HASH when the root hash has not the algorithm's length; BAD_HASH_OFFSET; for `params` as
 * `verityLayout`, and BAD_DATA_SIZE when they hold no number of blocks and the data is no whole number of them.
 */
export async function verifyTree(data: ByteSource, hash: ByteSource, rootHash: Uint8Array, options: VerifyOptions = {}): Promise<VerityCheck> {
  const prepared = await prepareCheck(data, hash, rootHash, options);
  if (prepared.check === undefined) return prepared.failed;
  const { check, finish } = prepared;
  const rootMatches = await check.checkTree(rootHash);
  await check.checkData(options.onProgress);
  return finish(rootMatches);
}

type Prepared =
  | { readonly check: TreeCheck; readonly finish: (rootMatches: boolean) => VerityCheck }
  | { readonly check?: undefined; readonly failed: VerityCheck };

/** Reads the parameters and sets up a check: what the portable verification and the one with workers share. */
export async function prepareCheck(data: ByteSource, hash: ByteSource, rootHash: Uint8Array, options: VerifyOptions): Promise<Prepared> {
  const list = new FindingList(options.maxFindings ?? 10_000);
  const { hashOffset = 0, params } = options;
  checkHashOffset(hashOffset);
  const finish = (rootMatches: boolean, layout?: VerityLayout, superblock?: Superblock): VerityCheck => {
    const findings = list.result();
    return { ok: rootMatches && findings.length === 0 && !list.overflow, rootMatches, findings, complete: !list.overflow, layout, superblock };
  };
  let superblock: Superblock | undefined;
  let layout: VerityLayout;
  if (params === undefined) {
    const read = await readChecked(hash, hashOffset, list);
    if (read === undefined) return { failed: finish(false) };
    ({ superblock, layout } = read);
  } else {
    const input = { ...params, hashOffset, superblock: false };
    // With a number of blocks, data that is too short is a finding; without one, a size that is no whole number of them an error.
    layout = params.dataBlocks === undefined ? layoutFor(data.size, input) : verityLayout({ ...input, dataBlocks: params.dataBlocks });
  }
  if (rootHash.length !== layout.digestSize) {
    throw new VerityError("BAD_ROOT_HASH", "the root hash has the wrong length", {
      expected: `${layout.digestSize} bytes (${layout.hash})`,
      found: `${rootHash.length} bytes`,
    });
  }
  const check = new TreeCheck(data, hash, layout, options.engine ?? portableEngine, list);
  return { check, finish: (rootMatches) => finish(rootMatches, layout, superblock) };
}

async function readChecked(hash: ByteSource, hashOffset: number, list: FindingList): Promise<{ superblock: Superblock; layout: VerityLayout } | undefined> {
  const end = Math.min(hash.size, hashOffset + superblockStruct.size);
  const bytes = end <= hashOffset ? new Uint8Array(0) : await hash.read(hashOffset, end);
  const report = (message: string, at: number, length: number): void =>
    list.add({ kind: "superblock", message, source: "hash", level: undefined, block: 0, blocks: 1, offset: hashOffset + at, length, certain: true });
  try {
    const superblock = decodeSuperblock(bytes, hashOffset);
    const layout = verityLayout({ ...superblock, hashOffset, superblock: true });
    const stray = superblockPadding(bytes);
    if (stray !== undefined) report(`superblock: the byte at ${hashOffset + stray} is padding and not zero`, stray, 1);
    return { superblock, layout };
  } catch (error) {
    if (!(error instanceof VerityError)) throw error;
    const at = error.facts.offset === undefined ? 0 : Number(error.facts.offset) - hashOffset;
    report(`superblock: ${error.message}`, at, superblockStruct.size - at);
    return undefined;
  }
}
