// Kernel modules and what they depend on, in the order in which they load: modules.dep(5), modules.builtin.

import { type ByteSource, collect, memorySource, streamSource } from "@imgkit/bytes";
import { decompress } from "@imgkit/compress";
import type { Tree } from "@imgkit/core";
import { findFile, findFolder, missing, readText } from "./files.ts";

/** Without one of these no disk of ours can be mounted. */
const REQUIRED = ["dm_verity", "erofs"];

/** Taken where the kernel has them: disks of virtual and real machines, digests in hardware, file systems for what is written. */
const WANTED = [
  "virtio_pci",
  "virtio_mmio",
  "virtio_blk",
  "virtio_scsi",
  "sd_mod",
  "ahci",
  "nvme",
  "hv_storvsc",
  "xen_blkfront",
  "vmw_pvscsi",
  "crc32c_generic",
  "crc32c_intel",
  "sha256_generic",
  "sha256_ssse3",
  "sha2_ce",
  "overlay",
];

/** A module that is unpacked is never larger. */
const MODULE_LIMIT = 128 << 20;

export interface KernelModule {
  /** With underscores, as /proc/modules shows it. */
  readonly name: string;
  /** Not compressed. */
  readonly content: ByteSource;
}

export interface KernelModules {
  readonly release: string;
  /** In the order in which they load. */
  readonly modules: readonly KernelModule[];
}

function nameOf(path: string): string {
  return path
    .slice(path.lastIndexOf("/") + 1)
    .replace(/\.ko(\.\w+)?$/, "")
    .replaceAll("-", "_");
}

/**
 * The modules that a disk of ours boots with, and `more`.
 * @throws DiskError INITRD_MISSING when the tree has no kernel's modules, several kernels' and `release` names none of them, or one of the
 * required modules is neither there nor part of the kernel. CompressError for a module that does not unpack.
 */
export async function findModules(tree: Tree, more: readonly string[], release?: string): Promise<KernelModules> {
  const { folder, name } = findRelease(tree, release);
  const paths = parseDependencies(await readText(tree, `${folder}/modules.dep`));
  const builtin = new Set((await readText(tree, `${folder}/modules.builtin`)).split("\n").map(nameOf));
  const ordered = new Map<string, string>();
  const wanted = [...REQUIRED, ...more.map((one) => nameOf(`${one}.ko`))];
  for (const one of [...REQUIRED, ...WANTED, ...wanted]) {
    const entry = paths.get(one);
    if (entry !== undefined) for (const path of entry) ordered.set(nameOf(path), path);
    else if (wanted.includes(one) && !builtin.has(one)) {
      throw missing("a kernel module is missing", folder, { field: "modules.dep", expected: one, hint: "Take a kernel that has it." });
    }
  }
  const modules: KernelModule[] = [];
  for (const [one, path] of ordered) modules.push({ name: one, content: await readModule(tree, `${folder}/${path}`) });
  return { release: name, modules };
}

function findRelease(tree: Tree, release: string | undefined): { folder: string; name: string } {
  const parent = findFolder(tree, "lib/modules") ?? "lib/modules";
  const hint = "Add the package linux-image-cloud-amd64 or another kernel, installed with its dependencies so that depmod has run.";
  if (release !== undefined) {
    if (!tree.has(`${parent}/${release}/modules.dep`)) throw missing("the kernel's modules are missing", parent, { expected: `${release}/modules.dep`, hint });
    return { folder: `${parent}/${release}`, name: release };
  }
  const found = [...tree].flatMap(({ path }) => {
    const [name = "", file, ...rest] = path.startsWith(`${parent}/`) ? path.slice(parent.length + 1).split("/") : [];
    return file === "modules.dep" && rest.length === 0 ? [name] : [];
  });
  const [name] = found;
  if (name === undefined) throw missing("no kernel modules", parent, { expected: "a folder with modules.dep", hint });
  if (found.length > 1)
    throw missing("the modules of several kernels", parent, { expected: "one", found: found.join(", "), hint: "Say which release is to boot." });
  return { folder: `${parent}/${name}`, name };
}

/** By a module's name the paths of what it depends on and its own, in the order in which they load. */
function parseDependencies(text: string): ReadonlyMap<string, readonly string[]> {
  const out = new Map<string, readonly string[]>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 0) continue;
    const path = line.slice(0, colon);
    // modules.dep has the nearest first.
    const dependencies = line
      .slice(colon + 1)
      .split(" ")
      .filter((one) => one !== "");
    out.set(nameOf(path), [...dependencies.reverse(), path]);
  }
  return out;
}

async function readModule(tree: Tree, path: string): Promise<ByteSource> {
  const file = findFile(tree, path);
  if (file === undefined) throw missing("a kernel module is missing", path, { hint: "modules.dep names it: run depmod again, or reinstall the kernel." });
  if (file.path.endsWith(".ko")) return file.content;
  // busybox loads no compressed ones.
  return memorySource(await collect(decompress(streamSource(file.content), { path: file.path, limit: MODULE_LIMIT })));
}
