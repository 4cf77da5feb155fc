import { portableSha256, type Sha256Engine } from "@imgkit/bytes";
import type { InodeNode, TreeNode } from "../node.ts";
import { comparePaths, nameOf } from "../path.ts";
import type { Tree } from "../tree.ts";
import type { MtreeEntry, MtreeSpec } from "./reader.ts";
import { decodeMtreeText, formatMtreeTime, parseMtreeTime } from "./text.ts";
import { fileDigest, linkCounts } from "./writer.ts";

/** One thing in which a tree is not what a specification says. */
export interface MtreeFinding {
  readonly code: "MISSING" | "EXTRA" | "DIFFERENT" | "NOT_CHECKED";
  readonly path: string;
  /** The keyword, for DIFFERENT and NOT_CHECKED. */
  readonly keyword?: string;
  readonly expected?: string;
  readonly found?: string;
}

/** Reads one keyword off a node, in the form in which `same` compares it; undefined where the keyword does not apply. */
type Reader = (node: InodeNode, context: { readonly names: number; readonly sha256: Sha256Engine }) => string | undefined | Promise<string | undefined>;

const typeNames: Readonly<Record<InodeNode["type"], string>> = { file: "file", directory: "dir", symlink: "link", char: "char", block: "block", fifo: "fifo" };

const sha256: Reader = (node, context) => (node.type === "file" ? fileDigest(node, context.sha256) : undefined);

const readers: Readonly<Record<string, Reader>> = {
  type: (node) => typeNames[node.type],
  mode: (node) => node.mode.toString(8),
  uid: (node) => String(node.uid),
  gid: (node) => String(node.gid),
  nlink: (node, { names }) => (node.type === "directory" ? undefined : String(names)),
  size: (node) => (node.type === "file" ? String(node.content.size) : undefined),
  time: (node) => formatMtreeTime(node.mtime),
  link: (node) => (node.type === "symlink" ? node.target : undefined),
  device: (node) => (node.type === "char" || node.type === "block" ? `${node.major},${node.minor}` : undefined),
  sha256,
  sha256digest: sha256,
};

/** Brings a specification's value to the form of `readers`. */
function canonical(keyword: string, value: string): string {
  if (keyword === "mode") return /^[0-7]+$/.test(value) ? Number.parseInt(value, 8).toString(8) : value;
  if (keyword === "time") return formatMtreeTime(parseMtreeTime(value) ?? -1n);
  if (keyword === "link") return decodeMtreeText(value) ?? value;
  if (keyword === "device") return deviceNumbers(value) ?? value;
  return value;
}

/** `MAJOR,MINOR` of a device in `FORMAT,MAJOR,MINOR` or as Linux's number. */
export function deviceNumbers(value: string): string | undefined {
  const pair = /^(?:[a-z0-9]+,)?([0-9]+|0x[0-9a-f]+),([0-9]+|0x[0-9a-f]+)$/.exec(value);
  if (pair !== null) return `${Number(pair[1])},${Number(pair[2])}`;
  if (!/^([0-9]+|0x[0-9a-f]+)$/.test(value)) return undefined;
  const number = BigInt(value);
  // Linux's dev_t: minor bits 0 to 7 and 20 up, major bits 8 to 19 (and from 32).
  return `${((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n)},${(number & 0xffn) | ((number >> 12n) & 0xffffff00n)}`;
}

// Names of owners and sums that only old tools need say nothing that a Tree can be asked; `optional` and `nochange` are orders, not claims.
const ignored = new Set(["uname", "gname", "inode", "resdevice", "flags", "optional", "nochange", "ignore", "tags", "contents"]);

export interface VerifyMtreeOptions {
  readonly sha256?: Sha256Engine;
}

/**
 * Holds a tree against a specification, both ways: what is missing, what is extra, and every keyword that differs. A keyword
 * that is not understood (a sum other than SHA-256) is reported as NOT_CHECKED: it proves nothing and hides nothing.
 */
export async function verifyMtree(tree: Tree, spec: MtreeSpec, options: VerifyMtreeOptions = {}): Promise<MtreeFinding[]> {
  const counts = linkCounts(tree);
  const engine = options.sha256 ?? portableSha256;
  const findings: MtreeFinding[] = [];
  for (const node of tree) {
    const entry = spec.entries.get(node.path);
    if (entry !== undefined) findings.push(...(await checkEntry(tree, node, entry, counts, engine)));
    else if (!belowIgnored(node.path, spec)) findings.push({ code: "EXTRA", path: node.path });
  }
  for (const entry of spec.entries.values()) {
    if (!tree.has(entry.path) && !entry.keywords.has("optional")) findings.push({ code: "MISSING", path: entry.path });
  }
  return findings.sort((a, b) => comparePaths(a.path, b.path));
}

/** `ignore` on a folder: what is below it is nobody's business. */
function belowIgnored(path: string, spec: MtreeSpec): boolean {
  for (let at = path.lastIndexOf("/"); at >= 0; at = path.lastIndexOf("/", at - 1)) {
    if (spec.entries.get(path.slice(0, at))?.keywords.has("ignore")) return true;
    if (at === 0) break;
  }
  return nameOf(path) === path && spec.entries.get("")?.keywords.has("ignore") === true;
}

async function checkEntry(
  tree: Tree,
  node: TreeNode,
  entry: MtreeEntry,
  counts: ReadonlyMap<InodeNode, number>,
  engine: Sha256Engine,
): Promise<MtreeFinding[]> {
  const findings: MtreeFinding[] = [];
  const { path } = node;
  const inode = tree.inode(node);
  for (const [keyword, value] of entry.keywords) {
    if (ignored.has(keyword)) continue;
    const reader = readers[keyword];
    if (reader === undefined) {
      findings.push({ code: "NOT_CHECKED", path, keyword, expected: value });
      continue;
    }
    const found = await reader(inode, { names: counts.get(inode) ?? 1, sha256: engine });
    const expected = canonical(keyword, value);
    if (found !== undefined && found !== expected) findings.push({ code: "DIFFERENT", path, keyword, expected, found });
  }
  return findings;
}
