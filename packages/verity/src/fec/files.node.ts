import { fstatSync } from "node:fs";
import type { ByteSource } from "@imgkit/bytes";
import { createOutput, type FileSource, type OutputFile, openFile } from "@imgkit/bytes/node";
import { layoutFor } from "../build.ts";
import { copyData } from "../copy.node.ts";
import { VerityError } from "../errors.ts";
import { type VerityLayout, verityLayout } from "../layout.ts";
import { nativeEngine } from "../native.node.ts";
import { type FileRange, rangeSource, verifyTreeInFiles } from "../ranges.node.ts";
import { readSuperblock } from "../superblock.ts";
import { type VerifyOptions, verifyTree } from "../verify.ts";
import type { FecLayout } from "./layout.ts";
import { type FecFile, isSamePath, placeParity } from "./place.node.ts";
import { type Repair, repairVerity } from "./repair.ts";
import { type FecCheck, type VerifyFecOptions, verifyFec } from "./verify.ts";

export interface FecFileCheck extends FecCheck {
  readonly layout: FecLayout;
}

/**
 * Compares files with their parity: see `verifyFec`.
 * @throws VerityError as `formatVerityFiles` for `fec`; BytesError NOT_FOUND, READ_FAILED.
 */
export async function verifyFecFiles(
  dataPath: string,
  hashPath: string,
  tree: VerityLayout,
  fec: FecFile,
  options: VerifyFecOptions = {},
): Promise<FecFileCheck> {
  return withFiles([dataPath, hashPath, fec.path], async ([data, hash, parity]) => {
    const { layout, offset } = placeParity(fec, tree, dataPath, hashPath, hash.size);
    return { ...(await verifyFec(data, hash, tailOf(parity, offset), layout, options)), layout };
  });
}

/** The bytes of a file from an offset on, none when it ends before. */
function tailOf(file: FileSource, offset: number): ByteSource {
  return rangeSource({ fd: file.fd, path: file.path, start: offset, size: Math.max(0, file.size - offset) });
}

type Three<T> = readonly [T, T, T];

async function withFiles<T>(paths: Three<string>, job: (files: Three<FileSource>) => Promise<T>): Promise<T> {
  const files: FileSource[] = [];
  try {
    for (const path of paths) files.push(openFile(path));
    const result = await job(files as unknown as Three<FileSource>);
    for (const file of files) file.checkUnchanged();
    return result;
  } finally {
    for (const file of files) file.close();
  }
}

export interface RepairFilesOptions extends Pick<VerifyOptions, "hashOffset" | "params" | "maxFindings" | "onProgress"> {
  /** Where the repaired data go; may be the data's own path. With the tree in the data's file the whole of it is written. */
  readonly output: string;
  /** Where a repaired hash file of its own goes. Absent: the tree is repaired in memory, as far as that is needed for the data. */
  readonly hashOutput?: string;
}

export interface RepairedFiles extends Repair {
  readonly layout: VerityLayout;
  /** Whether the tree is in an output: the data's, or one of its own. */
  readonly treeWritten: boolean;
}

/**
 * Repairs files to new files, which appear only when every block of them has been verified against the root hash once more.
 * @returns what was repaired; with `ok` false no file has been written.
 * @throws VerityError as `readSuperblock`, `verityLayout`, `repairVerity` and, for `fec`, `formatVerityFiles`; OVERLAP when two outputs are one file.
 * BytesError OUTPUT_FAILED and what reading throws.
 */
export async function repairVerityFiles(
  dataPath: string,
  hashPath: string,
  fec: FecFile,
  rootHash: Uint8Array,
  options: RepairFilesOptions,
): Promise<RepairedFiles> {
  const shared = isSamePath(dataPath, hashPath);
  checkOutputs(options, shared);
  // An output may replace what it is the repaired form of, and nothing else that is read.
  checkReplaced(options.output, shared ? [] : [hashPath], fec.path, dataPath);
  if (options.hashOutput !== undefined) checkReplaced(options.hashOutput, [dataPath], fec.path, hashPath);
  return withOutputs(async (create) =>
    withFiles([dataPath, hashPath, fec.path], async ([data, hash, parity]) => {
      const tree = await layoutOfFiles(data, hash, options);
      const { layout, offset } = placeParity(fec, tree, dataPath, hashPath, hash.size);
      const dataCopy = await create(options.output, data, Math.max(tree.dataSize, shared ? tree.size : 0));
      const hashCopy = shared ? dataCopy : options.hashOutput === undefined ? undefined : await create(options.hashOutput, hash, tree.size);
      const overlay = hashCopy === undefined ? overlayOf(hash, tree.size) : undefined;
      const source = overlay?.source ?? sourceOf(hashCopy as OutputFile);
      const target = {
        data: sourceOf(dataCopy),
        hash: source,
        write(which: "data" | "hash", at: number, bytes: Uint8Array): void {
          if (which === "data") dataCopy.writeAt(at, bytes);
          else if (hashCopy !== undefined) hashCopy.writeAt(at, bytes);
          else overlay?.write(at, bytes);
        },
      };
      const repair = await repairVerity(target, tailOf(parity, offset), rootHash, tree, layout, { ...options, engine: nativeEngine });
      if (repair.ok) await verifyAgain(target.data, source, dataCopy, hashCopy, rootHash, tree);
      return { result: { ...repair, layout: tree, treeWritten: hashCopy !== undefined }, commit: repair.ok };
    }),
  );
}

function checkOutputs({ output, hashOutput }: RepairFilesOptions, shared: boolean): void {
  if (hashOutput === undefined) return;
  if (shared)
    throw new VerityError("OVERLAP", "the tree is in the data's file, and so in the output", { path: hashOutput, hint: "Leave the hash output out." });
  if (isSamePath(output, hashOutput)) throw new VerityError("OVERLAP", "both outputs are one file", { path: output, hint: "Give two names." });
}

function checkReplaced(output: string, others: readonly string[], parity: string, own: string): void {
  const inputs = isSamePath(parity, own) ? others : [...others, parity];
  if (!inputs.some((path) => isSamePath(output, path))) return;
  throw new VerityError("OVERLAP", "the output would replace another file that is needed", { path: output, hint: "Give another name." });
}

type Create = (path: string, from: FileSource, least: number) => Promise<OutputFile>;

/** Copies are made beside their places, and appear together when the job says so. */
async function withOutputs<T>(job: (create: Create) => Promise<{ readonly result: T; readonly commit: boolean }>): Promise<T> {
  const outputs: OutputFile[] = [];
  try {
    const { result, commit } = await job(async (path, from, least) => {
      const output = createOutput(path);
      outputs.push(output);
      await copyData(from, output);
      output.truncate(Math.max(from.size, least));
      return output;
    });
    if (commit) for (const output of outputs) output.commit();
    return result;
  } finally {
    for (const output of outputs) output.abort();
  }
}

async function layoutOfFiles(data: FileSource, hash: FileSource, { hashOffset = 0, params }: RepairFilesOptions): Promise<VerityLayout> {
  if (params === undefined) return verityLayout({ ...(await readSuperblock(hash, hashOffset)), hashOffset, superblock: true });
  const input = { ...params, hashOffset, superblock: false };
  return params.dataBlocks === undefined ? layoutFor(data.size, input) : verityLayout({ ...input, dataBlocks: params.dataBlocks });
}

function rangeOf({ fd, path }: OutputFile): FileRange {
  return { fd, path, start: 0, size: fstatSync(fd).size };
}

function sourceOf(output: OutputFile): ByteSource {
  const { read, readInto, size } = rangeSource(rangeOf(output));
  // Without its holes: blocks are written into them.
  return { size, read, ...(readInto === undefined ? {} : { readInto }) };
}

/** A source with blocks in memory over it. */
function overlayOf(hash: FileSource, least: number): { readonly source: ByteSource; write(at: number, bytes: Uint8Array): void } {
  const written = new Map<number, Uint8Array>();
  const size = Math.max(hash.size, least);
  const read = (start: number, end: number): Uint8Array => {
    const out = new Uint8Array(end - start);
    if (start < hash.size) hash.readInto?.(out.subarray(0, Math.min(out.length, hash.size - start)), start);
    for (const [at, bytes] of written) {
      const from = Math.max(start, at);
      const to = Math.min(end, at + bytes.length);
      if (from < to) out.set(bytes.subarray(from - at, to - at), from - start);
    }
    return out;
  };
  return {
    source: { size, read },
    write: (at, bytes) => void written.set(at, bytes.slice()),
  };
}

/** Another look, by the code that verifies, at what is about to appear. */
async function verifyAgain(
  data: ByteSource,
  hash: ByteSource,
  dataCopy: OutputFile,
  hashCopy: OutputFile | undefined,
  rootHash: Uint8Array,
  tree: VerityLayout,
): Promise<void> {
  const options = { hashOffset: tree.treeOffset, params: tree };
  const check =
    hashCopy === undefined
      ? await verifyTree(data, hash, rootHash, { ...options, engine: nativeEngine })
      : await verifyTreeInFiles(rangeOf(dataCopy), rangeOf(hashCopy), rootHash, options);
  const [first] = check.findings;
  if (!check.ok) throw new VerityError("NOT_REPAIRABLE", `after the repair ${first?.message ?? "the root hash does not match"}`, { path: dataCopy.path });
}
