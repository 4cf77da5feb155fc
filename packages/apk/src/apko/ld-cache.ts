// /etc/ld.so.cache, by apko's internal/ldso-cache: the new format of glibc's sysdeps/generic/dl-cache.h, version 1.1, little-endian, without
// hardware capabilities and extensions. What ld.so(8) finds in it, it need not look for.
import { ascii, encodeName, struct, u32le, u64le } from "@imgkit/bytes";
import { readElfLinks, type TreeNode } from "@imgkit/core";
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";
import { configuredFolders } from "./ld-conf.ts";

const header = struct<{ magic: string; version: string; libraries: number; strings: number }>("cache_file_new", 48, {
  magic: ascii(0, 17),
  version: ascii(17, 3),
  /** How many. */
  libraries: u32le(20),
  /** Bytes of the names behind the entries. */
  strings: u32le(24),
});

const entry = struct<{ flags: number; key: number; value: number; capabilities: bigint }>("file_entry_new", 24, {
  flags: u32le(0),
  /** Where in the file the name stands by which the library is looked for, and where its path. */
  key: u32le(4),
  value: u32le(8),
  capabilities: u64le(16),
});

/** FLAG_ELF_LIBC6 and the machine's flag, by ABI: class, byte order and e_machine. */
const flagsOf: ReadonlyMap<string, number> = new Map([
  ["64le-62", 0x0303],
  ["64le-183", 0x0a03],
]);

interface Library {
  readonly folder: string;
  readonly name: string;
  readonly flags: number;
}

const PATH = "etc/ld.so.cache";

/**
 * Writes the cache of the libraries in /lib and the folders of /etc/ld.so.conf, where there is one. A sentence when there is one and no cache
 * can be made of it, for a machine whose libraries apko does not know either.
 * @throws ApkError UNSUPPORTED for a pattern in ld.so.conf that is not read; BAD_PACKAGE for files that include one another without end.
 */
export async function writeLdCache(root: Root): Promise<string | undefined> {
  const folders = await configuredFolders(root);
  if (folders === undefined) return undefined;
  const libraries: Library[] = [];
  for (const folder of ["/lib", ...folders]) {
    for (const name of root.names(root.resolve(folder))) {
      const abi = await abiOf(root.followed(`${folder}/${name}`), name);
      if (abi === undefined) continue;
      const flags = flagsOf.get(abi);
      if (flags === undefined) return `/etc/ld.so.cache is not written: ${folder}/${name} is for another machine than x86_64 and aarch64 (${abi})`;
      libraries.push({ folder, name, flags });
    }
  }
  // Names that come later stand first, as ld.so looks them up; of equal ones the first folder's.
  libraries.sort((a, b) => compareLibraries(b.name, a.name));
  const before = root.get(PATH);
  if (before !== undefined && before.type !== "file")
    throw new ApkError("FILE_CONFLICT", "the cache of libraries is to be where something else is", { path: PATH, found: before.type });
  root.file(PATH, formatLdCache(libraries));
  return undefined;
}

/** The ABI of a library that ld.so may look for by this name of a file; undefined when it is none, or has another name of its own. */
async function abiOf(file: TreeNode | undefined, name: string): Promise<string | undefined> {
  if (stemOf(name) === undefined || file?.type !== "file") return undefined;
  const links = await readElfLinks(file.content);
  if (links === undefined || !links.shared) return undefined;
  const soname = links.soname ?? (name.endsWith(".so") ? name : undefined);
  const stem = soname === undefined ? undefined : stemOf(soname);
  return stem !== undefined && (name === soname || name === `${stem}.so`) ? links.abi : undefined;
}

/** `libx` of `libx.so` and `libx.so.1`; undefined for names that ldconfig(8) does not look at. */
function stemOf(name: string): string | undefined {
  if (!name.startsWith("lib") && !name.startsWith("ld-")) return undefined;
  const at = name.endsWith(".so") ? name.length - 3 : name.lastIndexOf(".so.");
  return at < 0 ? undefined : name.slice(0, at);
}

/** glibc's _dl_cache_libcmp: numbers by their value, and behind what is none. */
export function compareLibraries(a: string, b: string): number {
  const parts = (name: string): string[] => name.match(/[0-9]+|[^0-9]/g) ?? [];
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const [x, y] = [left[i] as string, right[i] as string];
    const [isNumber, isOther] = [/[0-9]/.test(x), /[0-9]/.test(y)];
    if (isNumber !== isOther) return isNumber ? 1 : -1;
    const order = isNumber ? Number(BigInt(x) - BigInt(y) > 0n) - Number(BigInt(x) - BigInt(y) < 0n) : Number(x > y) - Number(x < y);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

function formatLdCache(libraries: readonly Library[]): Uint8Array {
  const paths = libraries.map(({ folder, name }) => encodeName(`${folder === "/" ? "" : folder}/${name}\0`));
  const strings = paths.reduce((sum, { length }) => sum + length, 0);
  let at = header.size + entry.size * libraries.length;
  // Behind the names, where extensions would start, always some zeros.
  const out = new Uint8Array(at + strings + 16 - ((at + strings) % 16));
  header.encodeInto(out, 0, { magic: "glibc-ld.so.cache", version: "1.1", libraries: libraries.length, strings });
  for (const [i, { name, flags }] of libraries.entries()) {
    const path = paths[i] as Uint8Array;
    out.set(path, at);
    entry.encodeInto(out, header.size + i * entry.size, { flags, key: at + path.length - encodeName(`${name}\0`).length, value: at, capabilities: 0n });
    at += path.length;
  }
  return out;
}
