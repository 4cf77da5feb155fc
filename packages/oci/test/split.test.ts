// A tree cut into layers: together they are the tree, and a small change changes few of them.
import { execFileSync } from "node:child_process";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { normalise, scrubProfiles, Tree, type TreeNode, writeTar } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { long, oracleRoot } from "../../../test/oracle.ts";
import { createDigester } from "../src/digest.ts";
import { nodeEngines } from "../src/index.node.ts";
import { applyLayers, type InstalledPackage, installedPackages, splitByPackages, splitBySize, type TreePart } from "../src/index.ts";
import { differences, file, folder, link, symlink } from "./layers.ts";
import { temporaryFolder } from "./support.ts";

const applied = (parts: readonly TreePart[]): Tree => applyLayers(parts.map(({ tree }) => ({ nodes: tree }))).tree;
const namesOf = (parts: readonly TreePart[]): string[] => parts.map(({ names }) => names.join("+"));
const filesOf = ({ tree }: TreePart): string[] => [...tree].filter((node) => node.type !== "directory").map((node) => node.path);
const owned = (name: string, ...paths: string[]): InstalledPackage => ({ name, paths });

describe("the parts are the tree", () => {
  test("by packages, whatever they own, and however many layers there may be", async () => {
    const tree = arbitraryTree({ limits: "tree", maxFileSize: 300 });
    await fc.assert(
      fc.asyncProperty(
        tree,
        fc.array(fc.nat(5), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 2, max: 8 }),
        fc.boolean(),
        async (whole, owners, maxLayers, late) => {
          const packages = ["a", "b", "c", "d", "e"].map((name) => owned(name));
          const paths = [...whole].filter((node) => node.type !== "directory").map((node) => node.path);
          const lists = packages.map(({ name }, i) => owned(name, ...paths.filter((_, at) => owners[at % owners.length] === i)));
          const parts = splitByPackages(whole, lists, { maxLayers, ...(late ? { builtSince: 1_700_000_000_000_000_000n } : {}) });
          expect(parts.length).toBeLessThanOrEqual(maxLayers);
          expect(await differences(applied(parts), whole)).toEqual([]);
          expect(parts.flatMap(filesOf).sort()).toEqual(paths.sort());
        },
      ),
    );
  });

  test("by size", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ limits: "tree", maxFileSize: 300 }), fc.integer({ min: 1, max: 2000 }), async (tree, maxSize) => {
        const parts = splitBySize(tree, { maxSize });
        expect(await differences(applied(parts), tree)).toEqual([]);
        for (const part of parts) {
          const sizes = [...part.tree].map((node) => (node.type === "file" ? node.content.size : 0));
          // Names of one inode that are in several parts stand in the last one.
          if (part !== parts.at(-1) && sizes.filter((size) => size > 0).length > 1)
            expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(maxSize);
        }
      }),
    );
  });
});

const sized = (path: string, size: number): TreeNode => file(path, "x".repeat(size));

describe("by packages", () => {
  const tree = Tree.from([
    folder(""),
    folder("d", { mode: 0o750, mtime: 9n }),
    sized("d/big", 5000),
    sized("d/small", 10),
    sized("d/mine", 3),
    sized("free", 7),
    folder("d/empty"),
  ]);
  const packages = [owned("small", "d/small"), owned("big", "d/big"), owned("gone"), owned("mine", "d/mine")];

  test("the largest comes first, what nobody owns last; directories have no time but there", () => {
    const parts = splitByPackages(tree, packages);
    expect(namesOf(parts)).toEqual(["big", "small", "mine", ""]);
    expect(parts.map(filesOf)).toEqual([["d/big"], ["d/small"], ["d/mine"], ["free"]]);
    expect(parts.map((part) => part.tree.get("d")).map((node) => [node?.mode, node?.mtime])).toEqual([
      [0o750, 0n],
      [0o750, 0n],
      [0o750, 0n],
      [0o750, 9n],
    ]);
    expect(parts.map((part) => part.tree.has("d/empty"))).toEqual([false, false, false, true]);
  });

  test("what a few layers cannot hold each for itself is shared", () => {
    expect(namesOf(splitByPackages(tree, packages, { maxLayers: 2 }))).toEqual(["big+mine+small", ""]);
    expect(namesOf(splitByPackages(tree, packages, { maxLayers: 3 }))).toEqual(["big", "mine+small", ""]);
    expect(() => splitByPackages(tree, packages, { maxLayers: 1 })).toThrow(RangeError);
  });

  test("an inode with names of two packages stands in the last part, one with names of one package in its", () => {
    const linked = Tree.from([folder(""), sized("a", 100), link("b", "a"), sized("c", 50), link("d", "c"), link("e", "c")]);
    const parts = splitByPackages(linked, [owned("one", "a", "b", "c"), owned("two", "d")]);
    expect(parts.map(filesOf)).toEqual([
      ["a", "b"],
      ["c", "d", "e"],
    ]);
  });

  test("what the build made or changed stands in the last part", () => {
    const late = Tree.from(
      [...tree].map((node) => (node.path === "d/small" ? { ...node, mtime: 5n } : node.type === "directory" ? node : { ...node, mtime: 4n })),
    );
    expect(splitByPackages(late, packages, { builtSince: 5n }).map(filesOf)).toEqual([["d/big"], ["d/mine"], ["d/small", "free"]]);
  });

  test("a package that changes a little moves no other, in layers of its own and in shared ones", () => {
    const names = Array.from({ length: 60 }, (_, i) => `package-${i}`);
    const make = (changed: string, by: number): TreePart[] => {
      const nodes = names.map((name, i) => sized(`usr/${name}`, 2000 + i * 90 + (name === changed ? by : 0)));
      return splitByPackages(
        Tree.from([folder(""), folder("usr"), ...nodes]),
        names.map((name) => owned(name, `usr/${name}`)),
        { maxLayers: 20 },
      );
    };
    const before = make("", 0);
    expect(before).toHaveLength(20);
    for (const name of ["package-3", "package-30", "package-59"]) expect(namesOf(make(name, 20))).toEqual(namesOf(before));
  });

  test("names that are whiteouts in a layer are refused", () => {
    expect(() => splitByPackages(Tree.from([folder(""), file(".wh.x")]), [])).toThrow(expect.objectContaining({ code: "BAD_LAYER" }));
  });
});

test("by size: a file that is added moves the cuts near it only", () => {
  const folders = Array.from({ length: 400 }, (_, i) => folder(`d${i}`));
  const files = folders.flatMap(({ path }) => [sized(`${path}/a`, 300), sized(`${path}/b`, 200)]);
  const before = splitBySize(Tree.from([folder(""), ...folders, ...files]), { maxSize: 10_000 });
  expect(before.length).toBeGreaterThan(20);
  const kept = new Set(before.map((part) => filesOf(part).join()));
  for (const at of ["d1", "d200", "d99"]) {
    const after = splitBySize(Tree.from([folder(""), ...folders, ...files, sized(`${at}/new`, 900)]), { maxSize: 10_000 });
    expect(after.filter((part) => !kept.has(filesOf(part).join())).length, at).toBeLessThanOrEqual(4);
  }
});

describe("dpkg's lists", () => {
  const info = "var/lib/dpkg/info";
  const tree = Tree.from([
    ...["", "usr", "usr/bin", "usr/share", "var", "var/lib", "var/lib/dpkg", info].map((path) => folder(path)),
    symlink("bin", "usr/bin"),
    file("usr/bin/ls", "ls"),
    file("usr/bin/sh", "dash"),
    file("usr/bin/sh.distrib", "sh"),
    file("usr/share/doc", "both"),
    file(`${info}/coreutils.list`, "/.\n/bin\n/bin/ls\n/usr\n/usr/share/doc\n/usr/share/gone\n/nowhere/x\n"),
    file(`${info}/libc6:amd64.list`, "/.\n/usr/share/doc\n"),
    file(`${info}/bash.list`, "/.\n/bin/sh\n"),
    file(`${info}/dash.list`, "/.\n/bin/sh\n"),
    file(`${info}/bash.md5sums`, "x"),
    file("var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\ndash\n"),
  ]);

  test("paths where they are, through links; each once; diverted files with their package", async () => {
    expect(await installedPackages(tree, "debian")).toEqual([
      owned("bash", "usr/bin/sh.distrib"),
      owned("coreutils", "usr/bin/ls", "usr/share/doc"),
      owned("dash", "usr/bin/sh"),
      owned("libc6:amd64"),
    ]);
  });

  test("none: said, with where they were looked for", async () => {
    await expect(installedPackages(Tree.from([folder("")]), "debian")).rejects.toMatchObject({
      code: "NO_PACKAGES",
      facts: { expected: "var/lib/dpkg/info/*.list" },
    });
    await expect(installedPackages(tree, "apk")).rejects.toMatchObject({ code: "NO_PACKAGES" });
  });

  test("a list that is no file, and links in a circle, are no way to hang", async () => {
    await expect(installedPackages(Tree.from([folder(`${info}`), folder(`${info}/x.list`)]), "debian")).rejects.toMatchObject({ code: "NO_PACKAGES" });
    const circle = Tree.from([symlink("a", "b"), symlink("b", "a"), file(`${info}/x.list`, "/a/file\n/b\n")]);
    expect(await installedPackages(circle, "debian")).toEqual([owned("x", "b")]);
  });
});

test.each(["lib/apk/db", "usr/lib/apk/db"])("apk's database in /%s", async (place) => {
  const records = "C:Q1x\nP:busybox\nV:1\nF:bin\nM:0:0:755\nR:busybox\na:0:0:755\nZ:Q1y\nR:gone\nF:etc\n\nP:musl\nV:2\nF:\nR:ld.so\n\n";
  const tree = Tree.from([file(`${place}/installed`, records), folder("bin"), file("bin/busybox", "b"), folder("etc"), file("ld.so", "l")]);
  expect(await installedPackages(tree, "apk")).toEqual([owned("busybox", "bin/busybox"), owned("musl", "ld.so")]);
});

test("any package database gives packages whose paths are in the tree, or a typed error", async () => {
  const line = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom("P:a", "F:bin", "R:x", "", "/bin/x", "/.", "/", "//", "/bin/../x", "/l/x", "F:", "R:", "R:../x", "\0"),
  );
  const text = fc.array(line, { maxLength: 12 }).map((lines) => lines.join("\n"));
  await fc.assert(
    fc.asyncProperty(text, text, text, fc.constantFrom("debian" as const, "apk" as const), async (one, two, diversions, manager) => {
      const lists = [file("var/lib/dpkg/info/a.list", one), file("var/lib/dpkg/info/b.list", two), file("var/lib/dpkg/diversions", diversions)];
      const tree = Tree.from([...lists, file("lib/apk/db/installed", one), file("bin/x", "x"), symlink("l", "bin"), file("x")]);
      try {
        const paths = (await installedPackages(tree, manager)).flatMap((one) => one.paths);
        for (const path of paths) expect(tree.has(path)).toBe(true);
        expect(new Set(paths).size).toBe(paths.length);
      } catch (error) {
        expect(error).toMatchObject({ code: "NO_PACKAGES" });
      }
    }),
    { numRuns: 500 },
  );
});

describe("a Debian image", () => {
  const scratch = temporaryFolder();

  /** A package of some files, as dpkg-deb makes it. */
  function makePackage(name: string, version: string, size = 300): string {
    const root = join(scratch, `${name}-${version}`);
    mkdirSync(join(root, "DEBIAN"), { recursive: true });
    mkdirSync(join(root, "usr/share", name), { recursive: true });
    writeFileSync(join(root, "usr/share", name, "text"), `hello ${version}\n`.repeat(size));
    writeFileSync(join(root, "usr/share", name, `same-${"long".repeat(30)}`), "same\n");
    const control = [`Package: ${name}`, `Version: ${version}`, "Architecture: all", "Maintainer: nobody <nobody@example.com>", "Description: a test", ""];
    writeFileSync(join(root, "DEBIAN/control"), control.join("\n"));
    for (const path of [join(root, "usr/share", name, "text"), join(root, "usr/share", name, `same-${"long".repeat(30)}`)]) utimesSync(path, 1.6e9, 1.6e9);
    execFileSync("dpkg-deb", ["--build", "--root-owner-group", "-Znone", root, `${root}.deb`], { stdio: "ignore" });
    return `${root}.deb`;
  }

  const install = (root: string, ...packages: string[]): void => {
    execFileSync("dpkg", [`--root=${root}`, "--force-script-chrootless", "--force-unsafe-io", "-i", ...packages], { stdio: "ignore" });
  };

  async function layersOf(root: string, epoch: number): Promise<{ names: string; digest: string }[]> {
    const { tree } = normalise(await readDirectory(root), { epoch, profile: scrubProfiles.debian });
    const parts = splitByPackages(tree, await installedPackages(tree, "debian"), { maxLayers: 40, builtSince: BigInt(epoch) * 1_000_000_000n });
    expect(await differences(applied(parts), tree)).toEqual([]);
    const out: { names: string; digest: string }[] = [];
    for (const [i, part] of parts.entries()) {
      const digester = createDigester("sha256", nodeEngines.sha256);
      for await (const chunk of writeTar(part.tree, { epoch: i === parts.length - 1 ? epoch : 0 })) digester.update(chunk);
      out.push({ names: part.names.join("+"), digest: digester.digest() });
    }
    return out;
  }

  /** Two roots, the second with one package in another version, brought to two epochs: the names of the layers, and of those that differ. */
  async function changedLayers(before: string, after: string): Promise<{ names: string[]; changed: string[] }> {
    install(before, makePackage("greeting", "1.0"));
    install(after, makePackage("greeting", "2.0"));
    // After all that was packed, before all that was installed here.
    const now = Math.floor(Date.now() / 1000);
    const [a, b] = [await layersOf(before, now - 7200), await layersOf(after, now - 3600)];
    expect(b.map(({ names }) => names)).toEqual(a.map(({ names }) => names));
    return { names: a.map(({ names }) => names), changed: b.filter(({ digest }, i) => digest !== a[i]?.digest).map(({ names }) => names) };
  }
  const itsOwnAndTheLast = [expect.stringMatching(/(^|\+)greeting(\+|$)/), ""];

  oracleRoot("dpkg")("one package in another version, built at another time: its layer and the last one change, no other", async () => {
    const packages = Array.from({ length: 45 }, (_, i) => makePackage(`package${i}`, "1", 100 + i * i));
    const [before, after] = [join(scratch, "before"), join(scratch, "after")];
    mkdirSync(join(before, "var/lib/dpkg/updates"), { recursive: true });
    mkdirSync(join(before, "var/lib/dpkg/info"));
    writeFileSync(join(before, "var/lib/dpkg/status"), "");
    install(before, ...packages);
    execFileSync("cp", ["-a", before, after]);
    const { names, changed } = await changedLayers(before, after);
    expect(names.length).toBeGreaterThan(30);
    expect(changed).toEqual(itsOwnAndTheLast);
  });

  const slow = long() === test ? oracleRoot("mmdebstrap") : long();
  slow("the same of Debian's essential packages", { timeout: 300_000 }, async () => {
    const [before, after] = [join(scratch, "essential"), join(scratch, "essential-after")];
    execFileSync("mmdebstrap", ["--quiet", "--variant=essential", "bookworm", before], { stdio: "ignore" });
    execFileSync("cp", ["-a", before, after]);
    const { names, changed } = await changedLayers(before, after);
    expect(names.length).toBeGreaterThan(30);
    expect(changed).toEqual(itsOwnAndTheLast);
  });
});
