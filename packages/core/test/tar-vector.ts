import { type ByteSource, decodeName, encodeName, fromHex, memorySource } from "@imgkit/bytes";
import { noXattrs, type TreeNode } from "../src/node.ts";

/** A node as `fixtures/vectors/tar-1.json` has it. */
export interface VectorNode {
  readonly type: TreeNode["type"];
  readonly path?: string;
  readonly pathHex?: string;
  /** Octal. */
  readonly mode?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Nanoseconds. */
  readonly mtime?: string;
  /** Values in hexadecimal. */
  readonly xattrs?: Readonly<Record<string, string>>;
  readonly content?: string | { readonly fill: number; readonly size: number };
  readonly contentHex?: string;
  readonly target?: string;
  readonly targetHex?: string;
  readonly major?: number;
  readonly minor?: number;
}

export function decodeNode(node: VectorNode): TreeNode {
  const xattrs = node.xattrs === undefined ? noXattrs : new Map(Object.entries(node.xattrs).map(([name, value]) => [name, fromHex(value)]));
  const path = text(node.path, node.pathHex);
  const meta = { path, mode: Number.parseInt(node.mode ?? "0", 8), uid: node.uid ?? 0, gid: node.gid ?? 0, mtime: BigInt(node.mtime ?? 0), xattrs };
  switch (node.type) {
    case "file":
      return { ...meta, type: "file", content: content(node) };
    case "symlink":
    case "hardlink":
      return { ...meta, type: node.type, target: text(node.target, node.targetHex) };
    case "char":
    case "block":
      return { ...meta, type: node.type, major: node.major ?? 0, minor: node.minor ?? 0 };
    case "directory":
    case "fifo":
      return { ...meta, type: node.type };
  }
}

function text(plain: string | undefined, hex: string | undefined): string {
  return hex === undefined ? (plain ?? "") : decodeName(fromHex(hex));
}

function content({ content, contentHex }: VectorNode): ByteSource {
  if (contentHex !== undefined) return memorySource(fromHex(contentHex));
  if (typeof content === "object") return memorySource(new Uint8Array(content.size).fill(content.fill));
  return memorySource(encodeName(content ?? ""));
}
