import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { collect, decodeName, memorySource, toHex } from "@imgkit/bytes";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import { gunzip } from "@imgkit/compress";
import type { Tree } from "@imgkit/core";
import { describe, expect, test } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { readCpio } from "../src/cpio/reader.ts";
import { buildInitrd, packInitrd } from "../src/initrd/build.ts";
import { initScript } from "../src/initrd/script.ts";
import { differences, epoch, scratch } from "./helpers.ts";
import { elf, fakeTree } from "./initrd-tree.ts";

const modules = "usr/lib/modules/6.1.0-1-fake";

async function contentOf(tree: Tree, path: string): Promise<string> {
  const node = tree.get(path);
  return node?.type === "file" ? decodeName(await node.content.read(0, node.content.size)) : "";
}

describe("an initrd from a tree", () => {
  test("has the programs, the libraries that they need by the names under which they are wanted, and the modules in order", async () => {
    const initrd = await buildInitrd(fakeTree(), { epoch });
    expect(initrd.kernelRelease).toBe("6.1.0-1-fake");
    expect(initrd.modules).toEqual(["dm_mod", "dm_bufio", "dm_verity", "libcrc32c", "erofs", "virtio_blk"]);
    expect(await contentOf(initrd.tree, "lib/modules/order")).toBe("dm_mod\ndm_bufio\ndm_verity\nlibcrc32c\nerofs\nvirtio_blk\n");
    expect(await contentOf(initrd.tree, "lib/modules/dm_verity.ko")).toBe("dm-verity");
    expect(initrd.taken).toEqual([
      "usr/bin/busybox",
      "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
      "usr/lib/x86_64-linux-gnu/libblkid.so.1.1.0",
      "usr/lib/x86_64-linux-gnu/libc.so.6",
      "usr/lib/x86_64-linux-gnu/libcryptsetup.so.12.9.0",
      "usr/sbin/blkid",
      "usr/sbin/veritysetup",
    ]);
    const libraries = [...initrd.tree].map(({ path }) => path).filter((path) => /^lib\/[^/]*\.so/.test(path));
    expect(libraries).toEqual(["lib/ld-linux-x86-64.so.2", "lib/libblkid.so.1", "lib/libc.so.6", "lib/libcryptsetup.so.12"]);
    expect(await contentOf(initrd.tree, "lib/libblkid.so.1")).toMatch(/libblkid$/);
    expect(initrd.tree.get("init")).toMatchObject({ type: "file", mode: 0o755, uid: 0, gid: 0, mtime: BigInt(epoch) * 1_000_000_000n });
    expect(initrd.tree.get("bin/sh")).toMatchObject({ type: "symlink", target: "busybox" });
    expect(initrd.tree.get("dev/console")).toMatchObject({ type: "char", major: 5, minor: 1 });
  });

  test("packed and unpacked it is the same tree, and twice the same bytes", async () => {
    const { tree } = await buildInitrd(fakeTree(), { epoch });
    const packed = await collect(packInitrd(tree));
    expect(await differences(tree, await readCpio(memorySource(await collect(gunzip([packed])))))).toEqual([]);
    const again = await collect(packInitrd((await buildInitrd(fakeTree(), { epoch })).tree));
    expect(toHex(nativeSha256.hash(again))).toBe(toHex(nativeSha256.hash(packed)));
  });

  test("what else the tree has plays no part: other times, owners, files", async () => {
    const { tree } = await buildInitrd(fakeTree(), { epoch });
    const other = fakeTree({ "etc/hostname": "box\n", "usr/bin/other": elf({ needed: ["libnone.so"] }) }).map((node) => ({ ...node, mtime: 5n, uid: 1000 }));
    expect(await differences(tree, (await buildInitrd(other, { epoch })).tree)).toEqual([]);
  });

  for (const [tool, suffix] of [
    ["gzip", "gz"],
    ["xz", "xz"],
    ["zstd", "zst"],
  ] as const) {
    oracle(tool)(`modules compressed by ${tool} are unpacked, since busybox loads no others`, async () => {
      const dep = (await contentOf(fakeTree(), `${modules}/modules.dep`)).replaceAll(".ko", `.ko.${suffix}`);
      const names = ["drivers/md/dm-verity", "drivers/md/dm-bufio", "drivers/md/dm-mod", "fs/erofs/erofs", "lib/libcrc32c", "drivers/block/virtio_blk"];
      const pack = (text: string): Uint8Array => new Uint8Array(execFileSync(tool, ["-c"], { input: text }));
      const packed = Object.fromEntries(names.map((name) => [`${modules}/kernel/${name}.ko.${suffix}`, pack(`unpacked ${name}`)]));
      const { tree, modules: loaded } = await buildInitrd(fakeTree({ [`${modules}/modules.dep`]: dep, ...packed }), { epoch });
      expect(loaded).toEqual(["dm_mod", "dm_bufio", "dm_verity", "libcrc32c", "erofs", "virtio_blk"]);
      expect(await contentOf(tree, "lib/modules/erofs.ko")).toBe("unpacked fs/erofs/erofs");
    });
  }

  test("more modules on request, by either spelling; those in the kernel need no file", async () => {
    const { modules: loaded } = await buildInitrd(fakeTree(), { epoch, modules: ["virtio-net", "ext4"] });
    expect(loaded.at(-1)).toBe("virtio_net");
  });

  test("of several kernels the one that is named", async () => {
    const two = fakeTree({ "usr/lib/modules/6.2.0-1-fake/modules.dep": "" });
    await expect(buildInitrd(two, { epoch })).rejects.toMatchObject({
      code: "INITRD_MISSING",
      message: expect.stringMatching(/several kernels .*found 6\.1\.0-1-fake, 6\.2\.0-1-fake/),
    });
    expect((await buildInitrd(two, { epoch, kernelRelease: "6.1.0-1-fake" })).kernelRelease).toBe("6.1.0-1-fake");
  });

  test("libraries by DT_RUNPATH, by DT_RPATH of what wanted them, and beside the file", async () => {
    const folder = "usr/lib/private";
    const tree = fakeTree({
      "usr/sbin/blkid": elf({ needed: ["libone.so", "libthree.so"], rpath: "/usr/lib/private" }),
      [`${folder}/libone.so`]: elf({ needed: ["libtwo.so"] }),
      [`${folder}/libtwo.so`]: elf({ mark: "two" }),
      [`${folder}/libthree.so`]: elf({ needed: ["libfour.so"], runpath: "$ORIGIN/deep:/nowhere" }),
      [`${folder}/deep/libfour.so`]: elf({ mark: "four" }),
    });
    const { taken } = await buildInitrd(tree, { epoch });
    for (const name of ["libone.so", "libtwo.so", "libthree.so", "deep/libfour.so"]) expect(taken).toContain(`${folder}/${name}`);
  });

  test.each<[claim: string, changes: Parameters<typeof fakeTree>[0], message: RegExp]>([
    ["busybox", { "usr/bin/busybox": undefined }, /expected busybox\)\. Add the packages \(mmdebstrap:SUITE\?include=busybox-static\), or give an initrd/],
    [
      "two programs",
      { "usr/sbin/blkid": undefined, "usr/sbin/veritysetup": undefined },
      /expected veritysetup, blkid\)\. Add .*include=cryptsetup-bin,util-linux/,
    ],
    ["a library", { "usr/lib/x86_64-linux-gnu/libc.so.6": undefined }, /^\/usr\/.*: a shared library is missing \(field DT_NEEDED; expected libc\.so\.6\)/],
    ["a library for this machine", { "usr/lib/x86_64-linux-gnu/libblkid.so.1": undefined }, /expected libblkid\.so\.1/],
    ["the dynamic linker", { "usr/lib64/ld-linux-x86-64.so.2": undefined }, /the dynamic linker is missing \(field PT_INTERP; expected \/lib64\/ld-linux/],
    ["a program that is none", { "usr/sbin/blkid": "#!/bin/sh\n" }, /^\/usr\/sbin\/blkid: not a program or library that can be read/],
    ["all modules", { [`${modules}/modules.dep`]: undefined }, /no kernel modules .*Add the package linux-image-cloud-amd64/],
    ["dm-verity", { [`${modules}/modules.dep`]: "kernel/fs/erofs/erofs.ko:\n" }, /a kernel module is missing \(field modules\.dep; expected dm_verity\)/],
    ["a module's file", { [`${modules}/kernel/fs/erofs/erofs.ko`]: undefined }, /erofs\.ko: a kernel module is missing\. modules\.dep names it/],
    [
      "one library of two of one name",
      { "usr/sbin/blkid": elf({ needed: ["libc.so.6"], rpath: "/opt" }), "opt/libc.so.6": elf({ mark: "other" }) },
      /two libraries of one name/,
    ],
  ])("what is missing is named: %s", async (_, changes, message) => {
    await expect(buildInitrd(fakeTree(changes), { epoch })).rejects.toMatchObject({ code: "INITRD_MISSING", message: expect.stringMatching(message) });
  });

  test("a module or kernel that was asked for and is not there", async () => {
    await expect(buildInitrd(fakeTree(), { epoch, modules: ["zfs"] })).rejects.toMatchObject({ message: expect.stringMatching(/expected zfs/) });
    await expect(buildInitrd(fakeTree(), { epoch, kernelRelease: "7" })).rejects.toMatchObject({ message: expect.stringMatching(/expected 7\/modules\.dep/) });
    await expect(buildInitrd(fakeTree(), { epoch: -1 })).rejects.toMatchObject({ code: "BAD_EPOCH" });
  });

  test("links that lead in a circle and libraries that want each other end", async () => {
    const loop = fakeTree({ "usr/lib/x86_64-linux-gnu/libc.so.6": elf({ needed: ["libblkid.so.1", "libc.so.6"] }) });
    expect((await buildInitrd(loop, { epoch })).taken).toHaveLength(7);
    const circle = fakeTree({ "usr/bin/busybox": { symlink: "busybox" } });
    await expect(buildInitrd(circle, { epoch })).rejects.toMatchObject({ code: "INITRD_MISSING" });
  });
});

describe("its script", () => {
  oracle("busybox")("busybox's shell can read it", () => {
    execFileSync("busybox", ["sh", "-n"], { input: initScript });
  });

  oracle("busybox")("makes of a root hash the UUIDs of its two partitions", () => {
    const uuid = /^uuid\(\) \{\n[\s\S]*?^\}/m.exec(initScript)?.[0] ?? "";
    const calls = [...initScript.matchAll(/PARTUUID=\$\((uuid '[^']*')/g)].map((match) => match[1]);
    expect(calls).toHaveLength(2);
    const hash = "00112233445566778899AABBCCDDEEFF0123456789abcdef0123456789abcdef";
    const script = `${uuid}\n${calls.map((call) => `${call} ${hash}`).join("\n")}\n`;
    expect(execFileSync("busybox", ["sh"], { input: script, encoding: "utf8" })).toBe(
      "00112233-4455-6677-8899-aabbccddeeff\n01234567-89ab-cdef-0123-456789abcdef\n",
    );
  });

  test("uses of busybox what has a name in the initrd, and nothing else", async () => {
    const { tree } = await buildInitrd(fakeTree(), { epoch });
    const builtin =
      /^(\[|break|case|cd|die|do|done|echo|else|esac|exec|exit|export|fi|find_device|folder|for|if|in|open_verity|present|read|return|say|set|then|uuid|while|wait)$/;
    const words = initScript
      .split("\n")
      .filter((line) => !line.trimStart().startsWith("#"))
      .flatMap((line) =>
        [...line.replace(/\bexec /, "; ").matchAll(/(?:^|[|;&]|\$\(|\bdo\b|\bthen\b|\|\||&&)\s*([a-z][a-z_]*)(?=\s|$)/g)].map((match) => match[1] ?? ""),
      );
    const commands = [...new Set(words)].filter((word) => !builtin.test(word));
    expect(commands.filter((command) => !tree.has(`bin/${command}`))).toEqual([]);
    expect(commands).toContain("switch_root");
  });
});

describe("docs/bytes/initrd-1.md", () => {
  oracleRoot("cpio")("its recipe finds each file of an initrd in the tree that it was made of", async () => {
    const page = readFileSync(new URL("../../../docs/bytes/initrd-1.md", import.meta.url), "utf8");
    const recipe = page.split("```sh\n").at(-1)?.split("```")[0] ?? "exit 1";
    const folder = scratch();
    await materialise(fakeTree(), join(folder, "tree"));
    const run = async (tree: Tree): Promise<string> => {
      await writeFileAtomic(join(folder, "initrd"), packInitrd(tree));
      const env = { ...process.env, INITRD: join(folder, "initrd"), TREE: join(folder, "tree") };
      return execFileSync("bash", ["-euc", recipe], { encoding: "utf8", env });
    };
    const { tree } = await buildInitrd(fakeTree(), { epoch });
    const init = toHex(nativeSha256.hash(new TextEncoder().encode(initScript)));
    expect(await run(tree)).toBe(`${init}  init\n`);
    expect(page).toContain(init);
    const forged = await buildInitrd(fakeTree({ "usr/sbin/veritysetup": elf({ mark: "forged" }) }), { epoch });
    expect(await run(forged.tree)).toBe(`not of the tree: bin/veritysetup\n${init}  init\n`);
  });
});
