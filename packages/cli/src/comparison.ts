import { type ByteSource, streamSource } from "@imgkit/bytes";
import { decompress } from "@imgkit/compress/node";
import { explainContent, explainTarBytes, explainTrees, type FoundCause, type TreeExplanation } from "@imgkit/core";
import { digestStream } from "./digest.ts";
import type { OpenedSource } from "./opened.ts";

/** How far two X are the same. Two tars are compared down to the byte, anything else as trees. */
export type Verdict = "equal" | "same tar, other compression" | "same tree, other bytes" | "different";

/** Two trees, compared as far as they can be. */
export interface Comparison extends TreeExplanation {
  readonly verdict: Verdict;
  /** How the two tars are written otherwise, or how they are compressed. */
  readonly archive: readonly FoundCause[];
}

function verdictOf(sameTree: boolean, sameTar: boolean, sameStored: boolean): Verdict {
  if (!sameTree) return "different";
  if (!sameTar) return "same tree, other bytes";
  return sameStored ? "equal" : "same tar, other compression";
}

/** Why two files that hold the same tar differ; nothing where they do not or where one of them is no file. */
async function explainStored(a: ByteSource | undefined, b: ByteSource | undefined): Promise<readonly FoundCause[]> {
  if (a === undefined || b === undefined) return [];
  const digests = [await digestStream(streamSource(a)), await digestStream(streamSource(b))];
  if (digests[0]?.digest === digests[1]?.digest) return [];
  const causes = await explainContent({ path: "the tar", a, b }, 0, decompress);
  // One of them is not compressed at all, or more of it is inside than is looked into; either way the tar in it is the same.
  const known = causes.filter(({ code }) => code === "other-compression" || code.startsWith("gzip-"));
  return [{ code: "tar-compression", detail: `${a.size} and ${b.size} bytes` }, ...known.filter(({ code }) => code !== "other-compression")];
}

/** Compares two opened X: their trees, and where both are tars their bytes. */
export async function compare(a: OpenedSource, b: OpenedSource): Promise<Comparison> {
  const explanation = await explainTrees(a.tree, b.tree, { decompress });
  const sameTree = explanation.differences.length === 0;
  const bytes = a.tar === undefined || b.tar === undefined ? [] : await explainTarBytes(a.tar.bytes, b.tar.bytes, sameTree);
  const stored = sameTree && bytes.length === 0 ? await explainStored(a.tar?.stored, b.tar?.stored) : [];
  return { ...explanation, archive: [...bytes, ...stored], verdict: verdictOf(sameTree, bytes.length === 0, stored.length === 0) };
}
