// A package's files put into a root, by the rules of apko's pkg/tarfs: what two packages bring alike is one file; of two that differ,
// the one whose package replaces the other stays; otherwise the image is refused. Owners are those of the image, 0:0, as apko has them.
import { type ByteSource, decodeBase64, encodeName, streamSource, toHex } from "@imgkit/bytes";
import { type DirectoryNode, readTarEntries, type TreeNode } from "@imgkit/core";
import { sha1 } from "@noble/hashes/legacy.js";
import { ApkError } from "../errors.ts";
import type { PackageInfo } from "../package.ts";
import type { Root } from "./root.ts";

/** A file of a package as the installed database lists it. */
export interface InstalledFile {
  readonly node: TreeNode;
  /** Hexadecimal SHA-1 as the package has it; undefined for folders and hard links. */
  readonly sha1: string | undefined;
}

const CHECKSUM_RECORD = "APK-TOOLS.checksum.SHA1";

/**
 * Installs the uncompressed data of a package, whose contents stay in `data`. Every file with a checksum is held to it.
 * @throws ApkError CHECKSUM_MISMATCH; FILE_CONFLICT naming both packages; THROUGH_SYMLINK for a file that would be written through a link;
 * UNSUPPORTED for a device; CoreError for what is no tar, or a path with `..`.
 */
export async function installFiles(root: Root, info: PackageInfo, data: ByteSource, name: string): Promise<readonly InstalledFile[]> {
  const checksums = new Map<string, string>();
  const onRecord = (path: string, keyword: string, value: Uint8Array): void => {
    if (keyword === CHECKSUM_RECORD) checksums.set(path, checksumOf(new TextDecoder().decode(value), name, path));
  };
  const { nodes } = await readTarEntries(data, { name, end: "optional", onRecord, limits: { totalSize: data.size } });
  const files: InstalledFile[] = [];
  for (const node of nodes) {
    // Hidden files at the top are the package's own, as in the control data of old packages.
    if (node.path === "" || (files.length === 0 && /^\.[^/]*$/.test(node.path))) continue;
    const digest = node.type === "directory" || node.type === "hardlink" ? undefined : await checked(node, checksums.get(node.path), name);
    await place(root, info, node, digest ?? "");
    files.push({ node, sha1: digest });
  }
  return files;
}

/** The record's value: hexadecimal digits, or as some builders wrote it `Q1` and base64. */
function checksumOf(text: string, name: string, path: string): string {
  const hex = /^Q1([A-Za-z0-9+/]{27}=)$/.exec(text)?.[1];
  const found = hex === undefined ? text.toLowerCase() : toHex(decodeBase64(hex));
  if (!/^[0-9a-f]{40}$/.test(found)) throw new ApkError("BAD_PACKAGE", "a checksum that is no SHA-1", { path: `${name}/${path}`, found: JSON.stringify(text) });
  return found;
}

async function checked(node: TreeNode, expected: string | undefined, name: string): Promise<string> {
  const path = `${name}/${node.path}`;
  const found = await sha1Of(node);
  if (found === undefined) throw new ApkError("UNSUPPORTED", "a package with something else than files, folders and links", { path, found: node.type });
  if (expected !== undefined && expected !== found)
    throw new ApkError("CHECKSUM_MISMATCH", "a file is not what its package says", { path, field: CHECKSUM_RECORD, expected, found });
  return found;
}

/** Of a file's content or a link's target, as hexadecimal digits. */
async function sha1Of(node: TreeNode): Promise<string | undefined> {
  const hash = sha1.create();
  if (node.type === "file") for await (const chunk of streamSource(node.content, 1 << 20)) hash.update(chunk);
  else if (node.type === "symlink") hash.update(encodeName(node.target));
  else return undefined;
  return toHex(hash.digest());
}

async function place(root: Root, info: PackageInfo, node: TreeNode, sha1: string): Promise<void> {
  const { path } = node;
  checkParents(root, info, path);
  if (node.type === "directory") placeFolder(root, { ...node, uid: 0, gid: 0 }, info);
  else await placeFile(root, info, { ...node, uid: 0, gid: 0 }, sha1);
}

async function placeFile(root: Root, info: PackageInfo, node: Exclude<TreeNode, DirectoryNode>, sha1: string): Promise<void> {
  const { path } = node;
  const before = root.get(path);
  const own = { package: info, sha1 };
  if (before === undefined) {
    if (node.type === "hardlink" && root.get(node.target) === undefined)
      throw new ApkError("BAD_PACKAGE", "a hard link to what is not there", { path, expected: node.target, found: `nothing, in ${info.name}` });
    root.put(node, own);
    return;
  }
  const origin = root.origin(path);
  // What the image itself has made has no origin: a key that a package brings as well is that key.
  if (origin === undefined && node.type === "file" && before.type === "file" && (await sha1Of(before)) === sha1) return;
  if (origin === undefined || node.type === "hardlink" || before.type === "hardlink" || before.type === "directory")
    throw conflict(path, info, origin?.package);
  const same = origin.sha1 === sha1 && before.type === node.type;
  if (same || replaces(origin.package, info)) return;
  if (origin.package.origin !== info.origin && !replaces(info, origin.package)) throw conflict(path, info, origin.package);
  root.put(node, own);
}

/** A folder that is there stays, but for its time and attributes; one that is a link to a folder is that folder. */
function placeFolder(root: Root, node: DirectoryNode, info: PackageInfo): void {
  const before = root.get(node.path);
  if (before?.type === "symlink" && root.get(root.resolve(node.path))?.type === "directory") return;
  if (before !== undefined && before.type !== "directory") throw conflict(node.path, info, root.origin(node.path)?.package);
  const mode = before === undefined ? node.mode & 0o777 : before.mode;
  const xattrs = before === undefined ? node.xattrs : new Map([...before.xattrs, ...node.xattrs]);
  root.put({ ...node, mode, xattrs });
}

/** No file goes through a link: what stands behind it is another package's, or nobody's. */
function checkParents(root: Root, info: PackageInfo, path: string): void {
  const names = path.split("/").slice(0, -1);
  for (const [i] of names.entries()) {
    const at = names.slice(0, i + 1).join("/");
    const found = root.get(at);
    if (found?.type === "directory") continue;
    const facts = { path, expected: `a folder at ${at}`, found: found === undefined ? "nothing" : `a ${found.type} (${info.name})` };
    if (found?.type === "symlink") throw new ApkError("THROUGH_SYMLINK", "a file of a package would be written through a link", facts);
    if (found !== undefined) throw new ApkError("FILE_CONFLICT", "a file of a package stands where a folder is needed", facts);
    root.folder(at);
  }
}

/** `replaces` names packages; a version is not looked at, as apko does. */
function replaces(one: PackageInfo, other: PackageInfo): boolean {
  return one.replaces.includes(other.name);
}

function conflict(path: string, info: PackageInfo, other: PackageInfo | undefined): ApkError {
  return new ApkError("FILE_CONFLICT", "two packages bring the same path, and neither replaces the other", {
    path,
    found: `${other === undefined ? "the image itself" : `${other.name}-${other.version}`} and ${info.name}-${info.version}`,
    hint: "Leave one of them out.",
  });
}
