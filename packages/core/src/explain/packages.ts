import { type ByteSource, decodeName, streamSource } from "@imgkit/bytes";
import { readStanzas } from "../lock/deb822.ts";
import { lookUp } from "../look-up.ts";
import { joinPath, nameOf, parentOf } from "../path.ts";
import type { Tree } from "../tree.ts";
import { both } from "./pair.ts";

// Which package a path belongs to, by dpkg's own records: /var/lib/dpkg/status (deb-control(5) paragraphs) and the lists of files in
// /var/lib/dpkg/info. Only what is told of packages that differ is read further.

const STATUS = "var/lib/dpkg/status";
const INFO = "var/lib/dpkg/info";
/** A record larger than this is no Debian's. */
const LIMIT = 64 << 20;

function fileAt(tree: Tree, path: string): ByteSource | undefined {
  const node = tree.get(path);
  const inode = node === undefined ? undefined : tree.inode(node);
  return inode?.type === "file" && inode.content.size <= LIMIT ? inode.content : undefined;
}

/** Version by package name and architecture (`libc6:amd64`), of what is installed. */
async function versionsOf(tree: Tree): Promise<ReadonlyMap<string, string>> {
  const versions = new Map<string, string>();
  const status = fileAt(tree, STATUS);
  if (status === undefined) return versions;
  for await (const stanza of readStanzas(streamSource(status))) {
    const [name, version] = [stanza.get("package"), stanza.get("version")];
    const isInstalled = stanza.get("status")?.endsWith(" installed") === true;
    if (name !== undefined && version !== undefined && isInstalled) versions.set(`${name}:${stanza.get("architecture") ?? ""}`, version);
  }
  return versions;
}

/** What is said of the paths of packages that the two trees have in different versions, or that one has alone; empty where one has no dpkg. */
export async function packageDifferences(a: Tree, b: Tree): Promise<ReadonlyMap<string, string>> {
  const out = new Map<string, string>();
  const [left, right] = [await versionsOf(a), await versionsOf(b)];
  if (left.size === 0 || right.size === 0) return out;
  for (const name of new Set([...left.keys(), ...right.keys()])) {
    if (left.get(name) === right.get(name)) continue;
    const detail = both(name, left.get(name) ?? "(not installed)", right.get(name) ?? "(not installed)");
    for (const tree of [a, b]) for (const path of await pathsOf(tree, name)) out.set(path, detail);
  }
  return out;
}

/** The paths of a package: its files, and dpkg's own records of it. */
async function pathsOf(tree: Tree, name: string): Promise<string[]> {
  const bare = name.slice(0, name.lastIndexOf(":"));
  const paths: string[] = [];
  for (const stem of [name, bare]) {
    const content = fileAt(tree, `${INFO}/${stem}.list`);
    if (content === undefined) continue;
    const list = decodeName(await content.read(0, content.size));
    paths.push(...list.split("\n").flatMap((line) => (line.startsWith("/") && line !== "/." ? [merged(tree, line.slice(1))] : [])));
    for (const kind of ["list", "md5sums", "conffiles", "preinst", "postinst", "prerm", "postrm", "triggers", "shlibs", "symbols", "config", "templates"]) {
      paths.push(`${INFO}/${stem}.${kind}`);
    }
    break;
  }
  return paths;
}

/** A path as it stands in the tree: packages still name /bin/sh what a merged /usr has as /usr/bin/sh. */
function merged(tree: Tree, path: string): string {
  const top = tree.get(path.split("/", 1)[0] ?? "");
  if (top?.type !== "symlink") return path;
  try {
    return joinPath(lookUp(tree, parentOf(path), { follow: true }).path, nameOf(path));
  } catch {
    return path;
  }
}
