// The published vectors, checked by the same code in every runtime of JavaScript.

import { webCryptoVerifier } from "../../packages/attest/src/index.ts";
import { portableEngines } from "../../packages/oci/src/index.ts";
import { createSimdEngine, portableEngine } from "../../packages/verity/src/index.ts";
import type { Check, Engines, Format, Outcome, VectorFile } from "./check.ts";
import { gzip, lz4 } from "./compress.ts";
import { cpio, disk, erofs, erofsLz4, fat, gce, initrd, qcow2, uki, vhd, vmdk } from "./disk.ts";
import { artifact, oci } from "./oci.ts";
import { authenticode, veritySig } from "./signatures.ts";
import { lock, mtree, record, tar } from "./trees.ts";
import { fec, gpt, proof, verity } from "./verity.ts";

/** What checks the files of fixtures/vectors in which blocks are hashed. */
const blocks: Readonly<Record<string, Format>> = {
  "disk-1.json": disk,
  "proof-1.json": proof,
  "verity-1.json": verity,
};

/** What checks those in which streams are hashed or compressed, or signatures verified. */
const streams: Readonly<Record<string, Format>> = {
  "artifact-1.json": artifact,
  "authenticode-1.json": authenticode,
  "gzip-1.json": gzip,
  "oci-1.json": oci,
  "uki-1.json": uki,
  "verity-sig-1.json": veritySig,
};

/** What checks the others: an engine makes no difference there that is worth the time. */
const others: Readonly<Record<string, Format>> = {
  "cpio-1.json": cpio,
  "erofs-1.json": erofs,
  "erofs-lz4-1.json": erofsLz4,
  "fat-1.json": fat,
  "fec-1.json": fec,
  "gce-1.json": gce,
  "gpt-1.json": gpt,
  "initrd-1.json": initrd,
  "lock-1.json": lock,
  "lz4-1.json": lz4,
  "mtree-1.json": mtree,
  "qcow2-1.json": qcow2,
  "record-1.json": record,
  "tar-1.json": tar,
  "vhd-1.json": vhd,
  "vmdk-1.json": vmdk,
};

/** Texts of the files of fixtures/vectors, by name. */
export type VectorTexts = Readonly<Record<string, string>>;

function open(texts: VectorTexts, name: string): VectorFile {
  const text = texts[name];
  if (text === undefined) throw new Error(`fixtures/vectors/${name} is not there`);
  return { text, other: (sibling) => open(texts, sibling) };
}

/**
 * The checks of one file.
 * @throws Error for a file that nothing checks.
 */
export function checksOf(texts: VectorTexts, name: string): readonly Check[] {
  const format = blocks[name] ?? streams[name] ?? others[name];
  if (format === undefined) throw new Error(`fixtures/vectors/${name}: nothing checks it; add it to test/conformance/suite.ts`);
  return format(open(texts, name));
}

/** The files that are checked with an engine: all with the portable one, with each other one those in which it has a part. */
export function filesFor(engine: string, texts: VectorTexts): readonly string[] {
  const parts = engine === "wasm-simd" ? [blocks] : engine === "native" ? [blocks, streams] : undefined;
  return Object.keys(texts).filter((name) => parts === undefined || parts.some((part) => Object.hasOwn(part, name)));
}

/** The portable engines that this runtime can run: the fallback always, and that with the vectors of WebAssembly where it has them. */
export async function portableEngineSets(): Promise<readonly Engines[]> {
  const rsa = webCryptoVerifier(crypto.subtle);
  const simd = await createSimdEngine();
  return [portableEngine, ...(simd === undefined ? [] : [simd])].map((engine) => ({ name: engine.name, blocks: engine, streams: portableEngines, rsa }));
}

/** One vector as a runtime has answered it. */
export interface Answer extends Partial<Outcome> {
  readonly file: string;
  readonly name: string;
  readonly error?: string;
}

/** A runtime's answers to all vectors, by the name of the engine. JSON. */
export type Answers = Readonly<Record<string, readonly Answer[]>>;

/** Checks everything with every portable engine. */
export async function answerAll(texts: VectorTexts): Promise<Answers> {
  const answers: Record<string, readonly Answer[]> = {};
  for (const engines of await portableEngineSets()) {
    const list: Answer[] = [];
    for (const file of filesFor(engines.name, texts)) {
      for (const check of checksOf(texts, file)) list.push({ file, name: check.name, ...(await outcomeOf(check, engines)) });
    }
    answers[engines.name] = list;
  }
  return answers;
}

async function outcomeOf(check: Check, engines: Engines): Promise<Outcome | { readonly error: string }> {
  try {
    return await check.run(engines);
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
