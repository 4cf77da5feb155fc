import { type CompareOptions, compareTrees, type Difference } from "../compare.ts";
import { causeOfPath } from "../known-paths.ts";
import { scrubProfiles, scrubRuleOf } from "../normalise/scrub.ts";
import type { Tree } from "../tree.ts";
import { type Cause, type CauseCode, causeTable, type FoundCause } from "./causes.ts";
import { type Decompress, explainContent } from "./content.ts";
import { causeOfMetadata, factsOf, secondsBelow, type TreeFacts } from "./metadata.ts";
import { packageDifferences } from "./packages.ts";
import { found, type Pair } from "./pair.ts";

export interface ExplainOptions extends CompareOptions {
  /** Default: the portable one of `@imgkit/compress`. */
  readonly decompress?: Decompress;
}

/** A difference with what it comes from: at least one cause, each once. */
export interface ExplainedDifference {
  readonly difference: Difference;
  readonly causes: readonly FoundCause[];
}

export interface TreeExplanation {
  /** In the trees' order. */
  readonly differences: readonly ExplainedDifference[];
  /**
   * The latest epoch, in seconds, to which both can be clamped so that no time differs; undefined when none differs now, or when one
   * of the times that differ lies before 1970.
   */
  readonly clampEpoch: number | undefined;
}

/**
 * Everything in which two trees differ, each with its cause.
 * @throws what reading a content throws, unless it is the content that is wrong.
 */
export async function explainTrees(a: Tree, b: Tree, options: ExplainOptions = {}): Promise<TreeExplanation> {
  const context = { a, b, facts: { a: factsOf(a), b: factsOf(b) }, packages: await packageDifferences(a, b), decompress: options.decompress };
  const differences: ExplainedDifference[] = [];
  let earliest: bigint | undefined;
  for await (const difference of compareTrees(a, b, options)) {
    if (difference.kind === "mtime") {
      for (const time of [difference.a, difference.b]) if (earliest === undefined || time < earliest) earliest = time;
    }
    differences.push({ difference, causes: await explainDifference(difference, context) });
  }
  return { differences, clampEpoch: earliest === undefined || earliest < 0n ? undefined : Number(secondsBelow(earliest)) };
}

/** What a cause means and how to make it go away. */
export function causeOf(code: CauseCode): Cause {
  const row = causeTable.find(([known]) => known === code);
  if (row === undefined) throw new RangeError(`no cause has the code ${code}`);
  return { sentence: row[1], remedy: row[2] };
}

interface Context {
  readonly a: Tree;
  readonly b: Tree;
  readonly facts: { readonly a: TreeFacts; readonly b: TreeFacts };
  /** What is said of paths whose packages differ. */
  readonly packages: ReadonlyMap<string, string>;
  readonly decompress: Decompress | undefined;
}

/** What differs with the host or the way of reading, whatever the package is. */
const ofTheHost: ReadonlySet<Difference["kind"]> = new Set(["uid", "gid", "xattr"]);

async function explainDifference(difference: Difference, { a, b, facts, packages, decompress }: Context): Promise<readonly FoundCause[]> {
  const { path } = difference;
  const rule = scrubRuleOf(path, scrubProfiles.debian);
  const isOnlyIn = "node" in difference;
  // What is only emptied keeps its metadata.
  if (rule !== undefined && (rule.what !== "empty" || isOnlyIn || difference.kind === "content")) return [found("scrubbed", rule.reason)];
  const version = packages.get(path);
  const isShared = !isOnlyIn && a.get(path)?.type === "directory" && b.get(path)?.type === "directory";
  if (version !== undefined && !isShared && !ofTheHost.has(difference.kind)) return [found("package-version", version)];
  if (isOnlyIn) {
    return [causeOfPath(path) ?? found("one-side-only", `a ${difference.node.type} only in the ${difference.kind === "only-in-a" ? "first" : "second"}`)];
  }
  if (difference.kind !== "content") return [causeOfMetadata(difference, facts.a, facts.b)];
  const known = causeOfPath(path);
  // What is inside of a Python cache tells more than that it is one.
  if (known !== undefined && !path.endsWith(".pyc")) return [known];
  const pair = contents(path, a, b);
  const inside = pair === undefined ? [found("unknown", "no content")] : await explainContent(pair, difference.offset, decompress);
  return known !== undefined && inside.every(({ code }) => code === "unknown") ? [known] : inside;
}

function contents(path: string, a: Tree, b: Tree): Pair | undefined {
  const [left, right] = [a.get(path), b.get(path)];
  if (left === undefined || right === undefined) return undefined;
  const [x, y] = [a.inode(left), b.inode(right)];
  return x.type === "file" && y.type === "file" ? { path, a: x.content, b: y.content } : undefined;
}

/** All differences of one cause. */
export interface CauseGroup extends Cause {
  readonly code: CauseCode;
  /** One for each difference, in the trees' order. */
  readonly found: readonly FoundIn[];
}

/** One difference of a cause. */
export interface FoundIn {
  readonly path: string;
  readonly kind: Difference["kind"];
  readonly detail: string;
  /** Of a content: where its first difference is, in bytes. */
  readonly offset: number | undefined;
}

/** The causes of an explanation in the order of the table, each with what it was found in. */
export function groupCauses(differences: readonly ExplainedDifference[]): CauseGroup[] {
  const groups = new Map<CauseCode, FoundIn[]>();
  for (const { difference, causes: all } of differences) {
    for (const { code, detail } of all) {
      const group = groups.get(code);
      const { path, kind } = difference;
      const one = { path, kind, detail, offset: kind === "content" ? difference.offset : undefined };
      if (group === undefined) groups.set(code, [one]);
      else group.push(one);
    }
  }
  return causeTable.flatMap(([code, sentence, remedy]) => {
    const list = groups.get(code);
    return list === undefined ? [] : [{ code, sentence, remedy, found: list }];
  });
}
