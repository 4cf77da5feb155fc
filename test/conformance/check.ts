import type { RsaVerifier } from "../../packages/attest/src/index.ts";
import { type ByteSource, streamSource, toHex } from "../../packages/bytes/src/index.ts";
import type { Engines as OciEngines } from "../../packages/oci/src/index.ts";
import type { HashEngine } from "../../packages/verity/src/index.ts";

// What the checks of the published vectors share. Everything that they import runs in any runtime of JavaScript; it is the public interface
// of the packages.

/** What does the heavy work while a vector is checked. Every engine has to give the same bytes. */
export interface Engines {
  /** Of the blocks' hashing. */
  readonly name: string;
  readonly blocks: HashEngine;
  readonly streams: OciEngines;
  readonly rsa: RsaVerifier;
}

/** What came out of a vector, and what has to: both are JSON. */
export interface Outcome {
  readonly found: unknown;
  readonly expected: unknown;
}

/** One vector and what is done with it. */
export interface Check {
  readonly name: string;
  run(engines: Engines): Promise<Outcome>;
}

/** A file of fixtures/vectors. */
export interface VectorFile {
  readonly text: string;
  /** Another file beside it. */
  other(name: string): VectorFile;
}

/** The checks of a file of vectors. */
export type Format = (file: VectorFile) => readonly Check[];

/** Checks of a file with a list of vectors, each with a name. */
export function eachVector<T extends object>(run: (vector: T, engines: Engines) => Promise<Outcome>): Format {
  return (file) => vectorsOf<T>(file).map((vector) => ({ name: vector.name, run: (engines) => run(vector, engines) }));
}

export function vectorsOf<T>({ text }: VectorFile): readonly (T & { readonly name: string })[] {
  return JSON.parse(text).vectors;
}

/** SHA-256 by the runtime's own implementation, which none of ours has a part in. */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource)));
}

/** Size and SHA-256 of a source that is read as a stream. */
export async function summaryOf(source: ByteSource): Promise<{ readonly size: number; readonly sha256: string }> {
  const bytes = new Uint8Array(source.size);
  let size = 0;
  for await (const chunk of streamSource(source)) {
    bytes.set(chunk, size);
    size += chunk.length;
  }
  return { size, sha256: await digestOf(bytes) };
}
