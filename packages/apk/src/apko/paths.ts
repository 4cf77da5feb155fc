// The `paths` of an apko.yaml, by apko's pkg/build/paths.go.
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";
import type { ApkoPath } from "./config.ts";

/** Makes and changes what the configuration asks for, in its order. */
export function changePaths(root: Root, paths: readonly ApkoPath[]): void {
  for (const wanted of paths) {
    const path = plain(wanted.path);
    make(root, wanted, path);
    for (const at of wanted.recursive ? root.below(root.resolve(path)) : [path]) setOwner(root, wanted, at);
  }
}

function make(root: Root, wanted: ApkoPath, path: string): void {
  const { type, source = "", permissions = 0 } = wanted;
  // As apko has it: folders that are missing above it are made with its permissions.
  if (type === "directory") root.folder(path, permissions & 0o7777, permissions & 0o7777);
  if (type === "directory" || type === "permissions") return;
  const slash = path.lastIndexOf("/");
  if (slash > 0) root.folder(path.slice(0, slash));
  if (type === "empty-file") root.file(path, "");
  else if (type === "symlink") {
    if (root.get(path) !== undefined) throw new ApkError("FILE_CONFLICT", "a link is to be where something is", { path });
    root.symlink(path, source);
  } else {
    const target = root.followed(plain(source));
    if (target?.type !== "file")
      throw new ApkError("BAD_CONFIG", "a hard link to what is no file", { path, expected: `a file at ${source}`, found: target?.type ?? "nothing" });
    const { content: _, ...meta } = target;
    root.put({ ...meta, type: "hardlink", path, target: target.path });
  }
}

function setOwner(root: Root, { uid, gid, permissions = 0, path: given }: ApkoPath, path: string): void {
  // The modes of one file are one mode, whatever name it is asked for by.
  const node = root.followed(path);
  if (node === undefined) throw new ApkError("BAD_CONFIG", "permissions for what is not there", { path: given });
  const owner = uid === undefined && gid === undefined ? {} : { uid: uid ?? 0, gid: gid ?? 0 };
  root.put({ ...node, mode: permissions & 0o7777, ...owner }, root.origin(node.path));
}

function plain(path: string): string {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.includes("..")) throw new ApkError("BAD_CONFIG", "a path with ..", { path });
  return names.join("/");
}
