// A minimal initrd from a system's own tree: its busybox, veritysetup, blkid with their libraries, its kernel's modules, and a script.

import { type ByteStream, encodeName, memorySource, streamSource } from "@imgkit/bytes";
import { type GzipOptions, gzip } from "@imgkit/compress";
import { checkEpoch, type FileNode, noXattrs, Tree, type TreeNode } from "@imgkit/core";
import { createCpio } from "../cpio/writer.ts";
import { findFile, missing } from "./files.ts";
import { findLibraries } from "./libraries.ts";
import { findModules } from "./modules.ts";
import { applets, initScript } from "./script.ts";

export interface InitrdOptions {
  /** The time of all its files: seconds since 1970. */
  readonly epoch: number;
  /** The kernel whose modules are taken, as `uname -r` has it; needed when the tree has several. */
  readonly kernelRelease?: string;
  /** Names of kernel modules to be loaded besides the usual ones. */
  readonly modules?: readonly string[];
}

/** An initrd, before it is packed. */
export interface Initrd {
  readonly tree: Tree;
  readonly kernelRelease: string;
  /** Names of the kernel modules, in the order in which they load. */
  readonly modules: readonly string[];
  /** Paths in the given tree of the programs and libraries that were taken, sorted. */
  readonly taken: readonly string[];
}

/** The programs that are taken, and the Debian package that has each. */
const programs = { busybox: "busybox-static", veritysetup: "cryptsetup-bin", blkid: "util-linux" } as const;
const FOLDERS = ["usr/sbin", "usr/bin", "sbin", "bin"];

/** Where a dynamic linker looks without being told: all are one folder. */
const LIBRARY_LINKS: readonly (readonly [path: string, target: string])[] = [
  ["lib64", "lib"],
  ["usr/lib", "../lib"],
  ["usr/lib64", "../lib"],
];

/**
 * Assembles an initrd, `initrd/1`, from a tree with busybox, veritysetup, blkid and a kernel's modules. It mounts the file systems whose root hashes the kernel
 * command line names, behind dm-verity.
 * @throws DiskError INITRD_MISSING, naming the package to be added, for a program, library or module that is not there. CoreError BAD_EPOCH.
 */
export async function buildInitrd(tree: Tree, options: InitrdOptions): Promise<Initrd> {
  const mtime = BigInt(checkEpoch(options.epoch)) * 1_000_000_000n;
  const found = findPrograms(tree);
  const libraries = await findLibraries(tree, [...found.values()]);
  const { release, modules } = await findModules(tree, options.modules ?? [], options.kernelRelease);
  const meta = { uid: 0, gid: 0, mtime, xattrs: noXattrs };
  const file = (path: string, mode: number, content: FileNode["content"]): TreeNode => ({ ...meta, type: "file", path, mode, content });
  const text = (path: string, mode: number, value: string): TreeNode => file(path, mode, memorySource(encodeName(value)));
  const link = (path: string, target: string): TreeNode => ({ ...meta, type: "symlink", path, mode: 0o777, target });
  const device = (path: string, minor: number, major: number): TreeNode => ({ ...meta, type: "char", path, mode: 0o600, major, minor });
  const nodes: TreeNode[] = [
    ...["", "bin", "dev", "lib", "lib/modules", "proc", "run", "sys", "sysroot", "usr"].map(
      (path): TreeNode => ({ ...meta, type: "directory", path, mode: 0o755 }),
    ),
    device("dev/console", 1, 5),
    device("dev/null", 3, 1),
    text("init", 0o755, initScript),
    ...applets.map((name) => link(`bin/${name}`, "busybox")),
    ...[...found].map(([name, { content }]) => file(`bin/${name}`, 0o755, content)),
    ...[...libraries].map(([name, { content }]) => file(`lib/${name}`, 0o755, content)),
    ...LIBRARY_LINKS.map(([path, target]) => link(path, target)),
    text("lib/modules/order", 0o644, modules.map(({ name }) => `${name}\n`).join("")),
    ...modules.map(({ name, content }) => file(`lib/modules/${name}.ko`, 0o644, content)),
  ];
  const taken = new Set([...found.values(), ...libraries.values()].map(({ path }) => path));
  return { tree: Tree.from(nodes), kernelRelease: release, modules: modules.map(({ name }) => name), taken: [...taken].sort() };
}

function findPrograms(tree: Tree): Map<string, FileNode> {
  const found = new Map<string, FileNode>();
  const absent: string[] = [];
  for (const name of Object.keys(programs)) {
    const file = FOLDERS.map((folder) => findFile(tree, `${folder}/${name}`)).find((one) => one !== undefined);
    if (file === undefined) absent.push(name);
    else found.set(name, file);
  }
  if (absent.length === 0) return found;
  const packages = absent.map((name) => programs[name as keyof typeof programs]).join(",");
  throw missing("programs that the initrd is made of are missing", "usr", {
    expected: absent.join(", "),
    hint: `Add the packages (mmdebstrap:SUITE?include=${packages}), or give an initrd.`,
  });
}

/** Packs a tree for Linux to unpack as its first root: `cpio/1`, compressed as `gzip/1`. @throws as `createCpio`. */
export function packInitrd(tree: Tree, options: GzipOptions = {}): ByteStream {
  return gzip(streamSource(createCpio(tree)), options);
}
