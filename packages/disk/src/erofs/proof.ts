// A file of an EROFS image proven by the blocks that reading it touches (docs/bytes/proof-1.md).

import { type ByteSource, streamSource } from "@imgkit/bytes";
import {
  blocksOfRanges,
  makeProof,
  maxProofSize,
  type Proof,
  recordingSource,
  type VerifyProofOptions,
  VerityError,
  type VerityPair,
  verifiedSource,
  verifyProof,
} from "@imgkit/verity";
import { type ErofsFile, openErofsFile } from "./look-up.ts";

/**
 * Makes the proof of a file: the blocks with the superblock, the inodes, directories and links on its path, and its data. Only those are read, and
 * the hash blocks above them.
 * @throws as `openErofsFile` and `makeProof`; VerityError TOO_LARGE for a file that fits into no proof.
 */
export async function proveFile(pair: VerityPair, path: string): Promise<Proof> {
  const { source, ranges } = recordingSource(verifiedSource(pair));
  const file = await openErofsFile(source, path);
  if (file.content.size > maxProofSize) {
    throw new VerityError("TOO_LARGE", "a file that is larger than a proof can be", {
      path: `/${file.path}`,
      expected: `at most ${maxProofSize} bytes`,
      found: `${file.content.size}`,
    });
  }
  await readAll(file.content);
  return makeProof(pair, blocksOfRanges(ranges, pair.layout.dataBlockSize), labelOf(path));
}

/** A file that a proof has proven. */
export interface ProvenFile {
  readonly file: ErofsFile;
  /** As of `verifyProof`: the parameters that were taken from the proof itself. */
  readonly assumed: ReturnType<typeof verifyProof>["assumed"];
}

/**
 * Verifies the proof of a file and opens the file by its path on the proven blocks alone.
 * @param path - The path asked for; without one, the proof's own.
 * @throws as `verifyProof` and `openErofsFile`; VerityError OTHER_PARAMETERS when the proof is of another path, NOT_PROVEN when a block is not in it that the
 * file needs, BAD_PROOF when one is in it that the file does not need, or there is no path.
 */
export async function readProvenFile(proof: Proof, rootHash: Uint8Array, path?: string, options: VerifyProofOptions = {}): Promise<ProvenFile> {
  const proven = verifyProof(proof, rootHash, options);
  const wanted = path === undefined ? proof.path : labelOf(path);
  if (wanted === undefined) throw new VerityError("BAD_PROOF", "the proof is of blocks, not of a file", { field: "path", hint: "Name the file to read." });
  if (proof.path !== undefined && proof.path !== wanted) {
    throw new VerityError("OTHER_PARAMETERS", "the proof is of another file", { field: "path", expected: wanted, found: proof.path });
  }
  const { source, ranges } = recordingSource(proven.source);
  const file = await openErofsFile(source, wanted);
  await readAll(file.content);
  const needed = blocksOfRanges(ranges, proof.dataBlockSize);
  if (proof.path !== undefined && needed.length !== proven.blocks.length) {
    throw new VerityError("BAD_PROOF", "the proof holds blocks that its file does not need", {
      path: `/${wanted}`,
      expected: `${needed.length} data blocks`,
      found: `${proven.blocks.length}`,
    });
  }
  return { file, assumed: proven.assumed };
}

/** A path has one form in a proof. Names that lead upwards cannot be taken out without reading, for the name before may be a link. */
function labelOf(path: string): string {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.length > 0 && !names.includes("..")) return names.join("/");
  throw new VerityError("BAD_PROOF", "a path that no proof is made of", {
    field: "path",
    expected: "names joined by slashes, without ..",
    found: JSON.stringify(path),
  });
}

async function readAll(source: ByteSource): Promise<void> {
  for await (const _ of streamSource(source)) {
    // Only that it is read counts.
  }
}
