// What of a tree boots it: the places where distributions put a kernel, systemd's stub and os-release.

import { collect, decodeName, streamSource } from "@imgkit/bytes";
import { type FileNode, lookUp, type Tree } from "@imgkit/core";
import type { Architecture } from "@imgkit/verity";
import { DiskError } from "../errors.ts";

/** What was found; each with its path and content. */
export interface BootFiles {
  readonly kernel: FileNode | undefined;
  readonly stub: FileNode | undefined;
  /** The text of os-release. */
  readonly osRelease: string | undefined;
}

/** By architecture, what UEFI calls it in file names. */
const efiNames: Readonly<Record<Architecture, string>> = { "x86-64": "x64", arm64: "aa64", riscv64: "riscv64" };

/** An os-release is a few lines: a larger one is none. */
const MAX_TEXT = 1 << 16;

/**
 * Looks for `/vmlinuz` and `/boot/vmlinuz` (Debian's links to the kernel to be started), else the one `/boot/vmlinuz-*`, else the one
 * `vmlinuz` of a folder in `/usr/lib/modules`; for `/usr/lib/systemd/boot/efi/linux*.efi.stub`; for `/etc/os-release` or `/usr/lib/os-release`.
 * `kernel: false` looks for no kernel.
 * @throws DiskError BAD_OPTION when several kernels are there and no link says which.
 */
export async function findBoot(tree: Tree, arch: Architecture, options: { readonly kernel?: boolean } = {}): Promise<BootFiles> {
  const release = fileAt(tree, "etc/os-release") ?? fileAt(tree, "usr/lib/os-release");
  return {
    kernel: options.kernel === false ? undefined : findKernel(tree),
    stub: fileAt(tree, `usr/lib/systemd/boot/efi/linux${efiNames[arch]}.efi.stub`),
    osRelease: release === undefined || release.content.size > MAX_TEXT ? undefined : decodeName(await collect(streamSource(release.content))),
  };
}

function findKernel(tree: Tree): FileNode | undefined {
  const linked = fileAt(tree, "vmlinuz") ?? fileAt(tree, "boot/vmlinuz");
  return linked ?? onlyKernel(tree, /^boot\/vmlinuz-[^/]+$/) ?? onlyKernel(tree, /^(usr\/)?lib\/modules\/[^/]+\/vmlinuz$/);
}

/** The file that a path leads to, through links; undefined for anything else. */
function fileAt(tree: Tree, path: string): FileNode | undefined {
  if (!tree.has(path)) return undefined;
  try {
    const node = tree.inode(lookUp(tree, path, { follow: true }));
    return node.type === "file" ? node : undefined;
  } catch {
    // A link to a kernel that was removed.
    return undefined;
  }
}

function onlyKernel(tree: Tree, pattern: RegExp): FileNode | undefined {
  const found = [...tree].filter((node): node is FileNode => node.type === "file" && pattern.test(node.path));
  if (found.length < 2) return found[0];
  throw new DiskError("BAD_OPTION", "several kernels, and no /vmlinuz says which is to be started", {
    field: "kernel",
    expected: "one, or a link /vmlinuz",
    found: found.map((node) => node.path).join(", "),
    hint: "Give the kernel, or exclude the others.",
  });
}
