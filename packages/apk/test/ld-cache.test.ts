import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { collect } from "@imgkit/bytes";
import { writeGoTar } from "@imgkit/core";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { oracleRoot } from "../../../test/oracle.ts";
import { compareLibraries, writeLdCache } from "../src/apko/ld-cache.ts";
import { Root } from "../src/install/root.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-ld-cache-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A library of 64 bits without content but its name: ELF header, a PT_LOAD and a PT_DYNAMIC segment, the dynamic section, its strings. */
function library(soname: string | undefined, { machine = 62, type = 3 } = {}): Uint8Array {
  const bytes = Buffer.alloc(512);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  bytes.writeUInt16LE(type, 16);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 0x20);
  bytes.writeUInt16LE(56, 0x36);
  bytes.writeUInt16LE(2, 0x38);
  const segment = (at: number, kind: number, offset: bigint, length: bigint): void => {
    bytes.writeUInt32LE(kind, at);
    for (const [place, value] of [
      [8, offset],
      [16, offset],
      [32, length],
    ] as const)
      bytes.writeBigUInt64LE(value, at + place);
  };
  segment(64, 1, 0n, 512n);
  segment(120, 2, 256n, 64n);
  const tags = [[5, 400], [10, 100], ...(soname === undefined ? [] : [[14, 1]])];
  for (const [i, [tag = 0, value = 0]] of tags.entries()) {
    bytes.writeBigUInt64LE(BigInt(tag), 256 + 16 * i);
    bytes.writeBigUInt64LE(BigInt(value), 264 + 16 * i);
  }
  bytes.write(soname ?? "", 401, "latin1");
  return new Uint8Array(bytes);
}

function makeRoot(files: Readonly<Record<string, string | Uint8Array>>, links: Readonly<Record<string, string>> = {}): Root {
  const root = new Root();
  root.put({ type: "directory", ...root.meta("", 0o755) });
  root.folder("etc");
  for (const [path, target] of Object.entries(links)) {
    const slash = path.lastIndexOf("/");
    if (slash > 0) root.folder(root.resolve(path.slice(0, slash)));
    root.symlink(path, target);
  }
  for (const [path, content] of Object.entries(files)) {
    root.folder(path.slice(0, path.lastIndexOf("/")));
    root.file(path, content);
  }
  return root;
}

async function cacheOf(root: Root): Promise<Buffer | undefined> {
  expect(await writeLdCache(root)).toBeUndefined();
  const node = root.get("etc/ld.so.cache");
  return node?.type === "file" ? Buffer.from(await node.content.read(0, node.content.size)) : undefined;
}

/** The entries, read here anew: key, path, flags. */
async function entriesOf(root: Root): Promise<string[]> {
  const bytes = await cacheOf(root);
  if (bytes === undefined) return ["no cache"];
  const text = (at: number): string => bytes.toString("utf8", at, bytes.indexOf(0, at));
  return Array.from({ length: bytes.readUInt32LE(20) }, (_, i) => {
    const at = 48 + 24 * i;
    return `${text(bytes.readUInt32LE(at + 4))} ${text(bytes.readUInt32LE(at + 8))} ${bytes.readUInt32LE(at).toString(16)}`;
  });
}

describe("the cache of libraries", () => {
  test("is not made without /etc/ld.so.conf, and empty of an empty one: to the byte", async () => {
    expect(await cacheOf(makeRoot({ "usr/lib/liba.so.1": library("liba.so.1") }))).toBeUndefined();
    const empty = await cacheOf(makeRoot({ "etc/ld.so.conf": "" }));
    expect(empty?.toString("latin1")).toBe(`glibc-ld.so.cache1.1${"\0".repeat(44)}`);
  });

  test("has libraries by their own name and by that of their link, of /lib and the configured folders", async () => {
    const root = makeRoot(
      {
        "etc/ld.so.conf": "# none\n/opt/lib # mine\n/opt/lib\ninclude /etc/ld.so.conf.d/*.conf\n/ignored\n",
        "etc/ld.so.conf.d/b.conf": "/opt/b\n",
        "etc/ld.so.conf.d/a.conf": "opt/a/\n",
        "etc/ld.so.conf.d/c.txt": "/ignored\n",
        "usr/lib/liba.so.1.10": library("liba.so.1"),
        "usr/lib/libown.so": library(undefined),
        "usr/lib/libunnamed.so.1": library(undefined),
        "usr/lib/libprogram.so": library("libprogram.so", { type: 2 }),
        "usr/lib/libscript.so": "INPUT(liba.so.1)\n",
        "usr/lib/other.so": library("other.so"),
        "usr/lib/ld-linux.so.2": library("ld-linux.so.2"),
        "opt/a/liba.so.1": library("liba.so.1"),
        "opt/b/liba.so.1": library("liba.so.1"),
        "opt/lib/libarm.so.1": library("libarm.so.1", { machine: 183 }),
        "ignored/libi.so.1": library("libi.so.1"),
      },
      { lib: "usr/lib", "usr/lib/liba.so.1": "liba.so.1.10", "usr/lib/liba.so": "/usr/lib/liba.so.1", "usr/lib/libnothing.so": "nowhere" },
    );
    expect(await entriesOf(root)).toEqual([
      "libown.so /lib/libown.so 303",
      "libarm.so.1 /opt/lib/libarm.so.1 a03",
      "liba.so.1 /lib/liba.so.1 303",
      "liba.so.1 /opt/a/liba.so.1 303",
      "liba.so.1 /opt/b/liba.so.1 303",
      "liba.so /lib/liba.so 303",
      "ld-linux.so.2 /lib/ld-linux.so.2 303",
    ]);
  });

  test("of another machine is not written, and that is said", async () => {
    const root = makeRoot({ "etc/ld.so.conf": "/opt/lib\n", "opt/lib/libx.so.1": library("libx.so.1", { machine: 243 }) });
    expect(await writeLdCache(root)).toMatch(/opt\/lib\/libx\.so\.1 is for another machine than x86_64 and aarch64 \(64le-243\)/);
    expect(root.get("etc/ld.so.cache")).toBeUndefined();
  });

  test.each([
    ["a file that includes itself", { "etc/ld.so.conf": "include /etc/*.conf\n" }, {}, "BAD_PACKAGE"],
    ["more folders than there can be", { "etc/ld.so.conf": Array.from({ length: 1001 }, (_, i) => `/${i}\n`).join("") }, {}, "BAD_PACKAGE"],
    ["a pattern that is not read", { "etc/ld.so.conf": "include /etc/[ab].conf\n" }, {}, "UNSUPPORTED"],
    ["a cache that is a link", { "etc/ld.so.conf": "" }, { "etc/ld.so.cache": "/etc/passwd" }, "FILE_CONFLICT"],
  ])("with %s is refused", async (_, files: Record<string, string>, links: Record<string, string>, code) => {
    await expect(writeLdCache(makeRoot(files, links))).rejects.toThrow(expect.objectContaining({ code }));
  });

  test("a pattern of many stars takes no time", async () => {
    const root = makeRoot({ "etc/ld.so.conf": `include /etc/${"*a".repeat(2000)}\n`, [`etc/${"a".repeat(4000)}b`]: "/opt\n" });
    const start = performance.now();
    expect(await entriesOf(root)).toEqual([]);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

test("the order of names is a total one, with numbers by their value", () => {
  const sorted = ["lib", "lib.so", "liba.so", "liba.so.1", "liba.so.2", "liba.so.10", "liba1.so", "libb.so"];
  expect([...sorted].reverse().sort(compareLibraries)).toEqual(sorted);
  const name = fc.string({ unit: fc.constantFrom("a", "b", ".", "-", "0", "1", "2"), maxLength: 8 });
  fc.assert(
    fc.property(name, name, name, (a, b, c) => {
      expect(Math.sign(compareLibraries(a, b))).toBe(-Math.sign(compareLibraries(b, a)) + 0);
      if (compareLibraries(a, b) <= 0 && compareLibraries(b, c) <= 0) expect(compareLibraries(a, c)).toBeLessThanOrEqual(0);
    }),
  );
});

oracleRoot("ldconfig")("ldconfig prints the entries of our cache, and makes the same ones of the same tree, in the same order", async () => {
  const system = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"].find(existsSync) ?? "/lib";
  const names = ["libc.so.6", "libm.so.6", "libz.so.1", "liblzma.so.5", "libgcc_s.so.1", "libcap.so.2"].filter((name) => existsSync(join(system, name)));
  expect(names.length).toBeGreaterThan(3);
  const files: Record<string, string | Uint8Array> = { "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n", "etc/ld.so.conf.d/opt.conf": "/opt/lib\n" };
  const links: Record<string, string> = { lib: "usr/lib" };
  for (const [i, name] of names.entries()) {
    const real = realpathSync(join(system, name));
    const where = i % 2 === 0 ? "usr/lib" : "opt/lib";
    files[`${where}/${basename(real)}`] = readFileSync(real);
    if (basename(real) !== name) links[`${where}/${name}`] = basename(real);
    links[`${where}/${name.replace(/\.so\..*/, ".so")}`] = name;
  }
  const root = makeRoot(files, links);
  await cacheOf(root);
  writeFileSync(join(folder, "root.tar"), await collect(writeGoTar(root.tree())));
  const tree = join(folder, "root");
  execFileSync("mkdir", [tree]);
  execFileSync("tar", ["-xf", join(folder, "root.tar"), "-C", tree]);
  const print = (path: string): string[] =>
    execFileSync("ldconfig", ["-p", "-C", path], { encoding: "utf8" })
      .split("\n")
      .filter((line) => line.startsWith("\t"));
  const ours = print(join(tree, "etc/ld.so.cache"));
  expect(ours.length).toBeGreaterThanOrEqual(2 * names.length - 1);
  execFileSync("ldconfig", ["-r", tree, "-X", "-C", "/etc/theirs.cache"], { stdio: "ignore" });
  expect(ours).toEqual(print(join(tree, "etc/theirs.cache")));
});
