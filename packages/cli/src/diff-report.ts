import { printable, toHex } from "@imgkit/bytes";
import { type CauseGroup, causeOf, type Difference, type ExplainedDifference, groupCauses, type Tree } from "@imgkit/core";
import type { Comparison } from "./comparison.ts";
import { timeText } from "./listing.ts";

/** Paths of one cause that are listed unless all are asked for. */
const SHOWN = 5;
/** Bytes shown of a content: a line of a dump. */
const DUMPED = 16;

/** Both sides' bytes around the first difference of each content, in hexadecimal, by path. */
export async function contentBytes(differences: readonly ExplainedDifference[], a: Tree, b: Tree): Promise<Map<string, [string, string]>> {
  const out = new Map<string, [string, string]>();
  for (const { difference } of differences) {
    if (difference.kind !== "content") continue;
    const start = difference.offset - (difference.offset % DUMPED);
    out.set(difference.path, [await bytesOf(a, difference.path, start), await bytesOf(b, difference.path, start)]);
  }
  return out;
}

async function bytesOf(tree: Tree, path: string, start: number): Promise<string> {
  const node = tree.get(path);
  const inode = node === undefined ? undefined : tree.inode(node);
  if (inode?.type !== "file" || start >= inode.content.size) return "";
  return toHex(await inode.content.read(start, Math.min(inode.content.size, start + DUMPED)));
}

export interface ReportOptions {
  readonly all: boolean;
  readonly bytes: ReadonlyMap<string, readonly [string, string]>;
}

/** The report for people: the verdict, the causes with what they were found in, what makes it equal. */
export function* reportLines(comparison: Comparison, a: string, b: string, options: ReportOptions): Generator<string> {
  const { verdict, differences, archive, clampEpoch } = comparison;
  const groups = groupCauses(differences);
  yield headline(comparison, a, b, groups.length);
  for (const group of groups) yield* groupLines(group, options);
  if (archive.length > 0) {
    yield "";
    yield verdict === "same tar, other compression" ? "around the tar:" : "the archives themselves:";
    for (const { code, detail } of archive) yield `  ${causeOf(code).sentence}: ${detail}`;
  }
  const remedies = [...groups.map(({ sentence, remedy }) => [sentence, remedy]), ...archive.map(({ code }) => [causeOf(code).sentence, causeOf(code).remedy])];
  if (remedies.length === 0) return;
  yield "";
  yield "what makes them equal:";
  for (const [sentence, remedy] of remedies) yield `  ${sentence}: ${remedy}`;
  if (clampEpoch !== undefined)
    yield `  clamp epoch: ${clampEpoch} (${timeText(BigInt(clampEpoch) * 1_000_000_000n)} UTC) is the latest that makes all times equal.`;
}

function headline({ verdict, differences }: Comparison, a: string, b: string, causes: number): string {
  const names = `${a} and ${b}`;
  if (verdict === "equal") return `${names}: equal`;
  if (verdict !== "different") return `${names}: ${verdict}`;
  const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
  return `${names}: ${count(differences.length, "difference")} of ${count(causes, "cause")}`;
}

function* groupLines({ code, sentence, found }: CauseGroup, { all, bytes }: ReportOptions): Generator<string> {
  yield "";
  yield `${found.length} × ${sentence} [${code}]`;
  for (const { path, detail, offset } of all ? found : found.slice(0, SHOWN)) {
    // What is unknown says where by itself.
    yield `  /${path}: ${detail}${offset === undefined || code === "unknown" ? "" : ` (from byte ${offset} on)`}`;
    const dump = offset === undefined ? undefined : bytes.get(path);
    if (dump !== undefined) for (const side of dump) yield `    ${dumpLine(side)}`;
  }
  if (!all && found.length > SHOWN) yield `  … and ${found.length - SHOWN} more (--all lists them)`;
}

function dumpLine(hex: string): string {
  const pairs = hex.match(/../g) ?? [];
  const text = pairs.map((pair) => String.fromCharCode(Number.parseInt(pair, 16))).join("");
  return `${pairs.join(" ").padEnd(DUMPED * 3)} ${text.replace(/[^ -~]/g, ".")}`.trimEnd();
}

/** A difference as `--json` has it: times in nanoseconds and attributes in hexadecimal, as text. */
export function differenceDocument({ difference, causes }: ExplainedDifference, bytes: readonly [string, string] | undefined): object {
  const { kind, path } = difference;
  const shownBytes = kind === "content" && bytes !== undefined ? { bytes } : {};
  return { path: `/${path}`, kind, ...values(difference), ...shownBytes, causes: causes.map(({ code, detail }) => ({ code, detail: printable(detail) })) };
}

function values(difference: Difference): object {
  if ("node" in difference) return { type: difference.node.type };
  if (difference.kind === "xattr") {
    const { name, a, b } = difference;
    return { name, a: a === undefined ? null : toHex(a), b: b === undefined ? null : toHex(b) };
  }
  const { a, b } = difference;
  return difference.kind === "content" ? { a, b, offset: difference.offset } : { a, b };
}
