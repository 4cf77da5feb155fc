// lib/apk/db: what apk-tools keeps of the packages that are installed, in the form in which apko writes it.

import { encodeBase64, fromHex } from "@imgkit/bytes";
import type { PackageInfo } from "../package.ts";
import type { InstalledFile } from "./install.ts";

/** Where the database is. */
export const DATABASE = "usr/lib/apk/db/installed";

/** The entry of a package in `installed`: what its own .PKGINFO says, with the checksum and size that the index lists. */
export function installedEntry(listed: PackageInfo, files: readonly InstalledFile[]): string {
  const lines = [
    `P:${listed.name}`,
    `V:${listed.version}`,
    `A:${listed.architecture}`,
    `L:${listed.license}`,
    `T:${listed.description}`,
    `o:${listed.origin}`,
    `m:${listed.maintainer}`,
    `U:${listed.url}`,
    `D:${listed.depends.join(" ")}`,
    `p:${listed.provides.join(" ")}`,
    ...(listed.replaces.length === 0 ? [] : [`r:${listed.replaces.join(" ")}`]),
    `c:${listed.commit}`,
    // A list as Go prints it.
    `i:[${listed.installIf.join(" ")}]`,
    `t:${listed.buildTime}`,
    `S:${listed.size}`,
    `I:${listed.installedSize}`,
    `k:${listed.providerPriority}`,
    `C:${listed.checksum}`,
  ];
  let needsTop = true;
  for (const { node, sha1 } of reachable([...files].sort(filesFirst))) {
    const { path, mode, uid, gid } = node;
    const owner = `${uid}:${gid}:${mode.toString(8).padStart(4, "0")}`;
    if (node.type === "directory") {
      lines.push(`F:${path}`);
      if (mode !== 0o755 || uid !== 0 || gid !== 0) lines.push(`M:${owner}`);
    } else {
      if (needsTop) lines.push("F:");
      lines.push(`R:${path.slice(path.lastIndexOf("/") + 1)}`);
      if (mode !== 0o644 || uid !== 0 || gid !== 0) lines.push(`a:${owner}`);
      if (sha1 !== undefined) lines.push(`Z:Q1${encodeBase64(fromHex(sha1))}`);
    }
    needsTop = false;
  }
  return `${lines.join("\n")}\n\n`;
}

/** In each folder what is no folder first, then the folders, each with what is in it; names by their code units, as Go compares bytes. */
function filesFirst({ node: a }: InstalledFile, { node: b }: InstalledFile): number {
  const [left, right] = [a.path.split("/"), b.path.split("/")];
  let n = 0;
  for (; n < left.length - 1 && n < right.length - 1; n++) if (left[n] !== right[n]) return order(left[n] ?? "", right[n] ?? "");
  const isFolder = (names: readonly string[], node: InstalledFile["node"]): boolean => n + 1 < names.length || node.type === "directory";
  const [leftIs, rightIs] = [isFolder(left, a), isFolder(right, b)];
  if (leftIs !== rightIs) return leftIs ? 1 : -1;
  return order(left[n] ?? "", right[n] ?? "") || left.length - right.length;
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** Without what stands in folders that the package has no entry for. */
function reachable(files: readonly InstalledFile[]): readonly InstalledFile[] {
  const folders = new Set(files.filter(({ node }) => node.type === "directory").map(({ node }) => node.path));
  return files.filter(({ node }) => {
    const names = node.path.split("/").slice(0, -1);
    return names.every((_, i) => folders.has(names.slice(0, i + 1).join("/")));
  });
}
