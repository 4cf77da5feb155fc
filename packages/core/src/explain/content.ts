import { type ByteSource, type ByteStream, ImgkitError, streamSource } from "@imgkit/bytes";
import { explainAr } from "./ar.ts";
import type { FoundCause } from "./causes.ts";
import { explainCompressed } from "./compressed.ts";
import { explainElf } from "./elf.ts";
import { type ContentRule, found, type Pair } from "./pair.ts";
import { explainPyc } from "./pyc.ts";
import { explainBinary, explainShadow, explainText, unknownContent } from "./text.ts";
import { explainZip } from "./zip.ts";

/** Decompresses gzip, zstd or xz and throws what is more than `limit` bytes. */
export type Decompress = (stream: ByteStream, options: { readonly limit: number }) => AsyncGenerator<Uint8Array, void, undefined>;

/** The readers of `@imgkit/compress`, loaded when there is something to decompress. */
async function* portableDecompress(stream: ByteStream, options: { readonly limit: number }): AsyncGenerator<Uint8Array, void, undefined> {
  const { decompress } = await import("@imgkit/compress");
  yield* decompress(stream, options);
}

/** By what is asked first: the rule that knows most of a file comes before those that know less. */
const rules: readonly ContentRule[] = [explainShadow, explainCompressed, explainAr, explainZip, explainPyc, explainElf, explainText, explainBinary];

/** How deep a content in a content is looked into: a member of an archive in a gzip is two. */
const DEPTH = 4;
/** What one content may decompress to before it is called unknown: a bomb costs no more than this takes to read. */
const LIMIT = 2 ** 28;
/** How many contents in one file are looked into: an archive may hold any number of bombs. */
const MOST = 50;

/**
 * Why two contents differ: at least one cause, each once. Reads ranges; holds 4 MiB of each content at most.
 * @param offset of the first byte that differs
 */
export function explainContent(pair: Pair, offset: number, decompress: Decompress = portableDecompress): Promise<readonly FoundCause[]> {
  return explainAt(pair, offset, decompress, { depth: 0, budget: { left: MOST } });
}

interface Level {
  readonly depth: number;
  /** Shared by all levels. */
  readonly budget: { left: number };
}

async function explainAt(pair: Pair, offset: number | undefined, decompress: Decompress, { depth, budget }: Level): Promise<readonly FoundCause[]> {
  if (--budget.left < 0) return [found("unknown", `more than ${MOST} contents differ inside`)];
  const help = {
    inside: (inner: Pair) => explainAt(inner, undefined, decompress, { depth: depth + 1, budget }),
    decompress: (source: ByteSource) => decompress(streamSource(source), { limit: LIMIT }),
  };
  if (depth < DEPTH) {
    for (const rule of rules) {
      const causes = await rule(pair, help).catch(misread);
      if (causes !== undefined && causes.length > 0) return depth === 0 ? causes : causes.map((cause) => inside(cause, pair.path));
    }
  }
  return [offset === undefined ? found("unknown", `in ${pair.path} (${pair.a.size} and ${pair.b.size} bytes)`) : await unknownContent(pair, offset)];
}

/** A content that its magic number promised and its bytes do not keep is explained by the next rule. What the host fails at is thrown. */
function misread(error: unknown): undefined {
  if (error instanceof RangeError || (error instanceof ImgkitError && error.kind === "input" && error.code !== "SOURCE_CHANGED")) return undefined;
  throw error;
}

/** Says in what the cause stands, once. */
function inside(cause: FoundCause, path: string): FoundCause {
  const what = /\(([^()]+)\)$/.exec(path)?.[1] ?? "";
  return cause.detail.startsWith("in ") ? cause : { ...cause, detail: `in ${what}: ${cause.detail}` };
}
