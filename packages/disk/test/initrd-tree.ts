import { type Tree, treeFromObject } from "@imgkit/core";

export interface FakeElf {
  readonly interpreter?: string;
  readonly needed?: readonly string[];
  readonly rpath?: string;
  readonly runpath?: string;
  /** EM_X86_64 by default. */
  readonly machine?: number;
  /** Told apart by it. */
  readonly mark?: string;
}

const PHDRS = 3;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** The least that a dynamic linker would read: a header, segments, and a dynamic section with its strings. */
export function elf({ interpreter = "", needed = [], rpath, runpath, machine = 62, mark = "" }: FakeElf = {}): Uint8Array {
  const tags: [tag: number, value: string][] = [
    ...needed.map((name): [number, string] => [1, name]),
    ...(rpath === undefined ? [] : ([[15, rpath]] as [number, string][])),
    ...(runpath === undefined ? [] : ([[29, runpath]] as [number, string][])),
  ];
  let strings = "\0";
  const offsets = tags.map(([, value]) => {
    const at = strings.length;
    strings += `${value}\0`;
    return at;
  });
  const interpAt = 64 + PHDRS * 56;
  const dynamicAt = interpAt + interpreter.length + 1 + ((8 - ((interpAt + interpreter.length + 1) % 8)) % 8);
  const dynamicSize = (tags.length + 3) * 16;
  const stringsAt = dynamicAt + dynamicSize;
  const base = 0x40_0000;
  const out = new Uint8Array(stringsAt + strings.length + mark.length);
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 3, true);
  view.setUint16(18, machine, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, PHDRS, true);
  const segment = (index: number, type: number, at: number, size: number): void => {
    const from = 64 + index * 56;
    view.setUint32(from, type, true);
    view.setBigUint64(from + 8, BigInt(at), true);
    view.setBigUint64(from + 16, BigInt(base + at), true);
    view.setBigUint64(from + 32, BigInt(size), true);
  };
  segment(0, 1, 0, out.length);
  if (interpreter !== "") segment(1, 3, interpAt, interpreter.length + 1);
  segment(2, 2, dynamicAt, dynamicSize);
  out.set(text(interpreter), interpAt);
  const entries = [...tags.map(([tag], i) => [tag, offsets[i] ?? 0]), [5, base + stringsAt], [10, strings.length], [0, 0]];
  for (const [i, [tag = 0, value = 0]] of entries.entries()) {
    view.setBigUint64(dynamicAt + 16 * i, BigInt(tag), true);
    view.setBigUint64(dynamicAt + 16 * i + 8, BigInt(value), true);
  }
  out.set(text(strings), stringsAt);
  out.set(text(mark), stringsAt + strings.length);
  return out;
}

type Entries = Parameters<typeof treeFromObject>[0];

const linker = "/lib64/ld-linux-x86-64.so.2";
const modules = "usr/lib/modules/6.1.0-1-fake";

/** What an initrd is made of, in the places where Debian has it, in a few kilobytes. */
export const fakeSystem: Entries = {
  bin: { symlink: "usr/bin" },
  lib: { symlink: "usr/lib" },
  lib64: { symlink: "usr/lib64" },
  sbin: { symlink: "usr/sbin" },
  "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n",
  "etc/ld.so.conf.d/x86_64-linux-gnu.conf": "# Multiarch support\n/usr/local/lib/x86_64-linux-gnu\n/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
  "usr/bin/busybox": elf({ mark: "busybox" }),
  "usr/sbin/veritysetup": elf({ interpreter: linker, needed: ["libcryptsetup.so.12", "libc.so.6"], mark: "veritysetup" }),
  "usr/sbin/blkid": elf({ interpreter: linker, needed: ["libblkid.so.1", "libc.so.6"], mark: "blkid" }),
  "usr/lib64/ld-linux-x86-64.so.2": { symlink: "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" },
  "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": elf({ mark: "ld" }),
  "usr/lib/x86_64-linux-gnu/libc.so.6": elf({ needed: ["ld-linux-x86-64.so.2"], mark: "libc" }),
  "usr/lib/x86_64-linux-gnu/libblkid.so.1": { symlink: "libblkid.so.1.1.0" },
  "usr/lib/x86_64-linux-gnu/libblkid.so.1.1.0": elf({ needed: ["libc.so.6"], mark: "libblkid" }),
  "usr/lib/x86_64-linux-gnu/libcryptsetup.so.12": { symlink: "libcryptsetup.so.12.9.0" },
  "usr/lib/x86_64-linux-gnu/libcryptsetup.so.12.9.0": elf({ needed: ["libblkid.so.1", "libc.so.6"], mark: "libcryptsetup" }),
  // A library of the same name for another machine, in a folder that is looked into first.
  "usr/local/lib/x86_64-linux-gnu/libblkid.so.1": elf({ machine: 183, mark: "arm64" }),
  [`${modules}/modules.dep`]: [
    "kernel/drivers/md/dm-verity.ko: kernel/drivers/md/dm-bufio.ko kernel/drivers/md/dm-mod.ko",
    "kernel/drivers/md/dm-bufio.ko: kernel/drivers/md/dm-mod.ko",
    "kernel/drivers/md/dm-mod.ko:",
    "kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko",
    "kernel/lib/libcrc32c.ko:",
    "kernel/drivers/block/virtio_blk.ko:",
    "kernel/drivers/net/virtio_net.ko:",
    "",
  ].join("\n"),
  [`${modules}/modules.builtin`]: "kernel/crypto/sha256_generic.ko\nkernel/fs/ext4/ext4.ko\n",
  [`${modules}/kernel/drivers/md/dm-verity.ko`]: "dm-verity",
  [`${modules}/kernel/drivers/md/dm-bufio.ko`]: "dm-bufio",
  [`${modules}/kernel/drivers/md/dm-mod.ko`]: "dm-mod",
  [`${modules}/kernel/fs/erofs/erofs.ko`]: "erofs",
  [`${modules}/kernel/lib/libcrc32c.ko`]: "libcrc32c",
  [`${modules}/kernel/drivers/block/virtio_blk.ko`]: "virtio_blk",
  [`${modules}/kernel/drivers/net/virtio_net.ko`]: "virtio_net",
};

/** The fake system with other entries; `undefined` takes one away. */
export function fakeTree(changes: Readonly<Record<string, Entries[string] | undefined>> = {}): Tree {
  const entries = Object.entries({ ...fakeSystem, ...changes }).filter((entry): entry is [string, Entries[string]] => entry[1] !== undefined);
  return treeFromObject(Object.fromEntries(entries), { mtime: 1_600_000_000 });
}
