import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import { readTarEntries, type Tree } from "@imgkit/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { realData, withRealData } from "../../../test/apk-data.ts";
import { groupPackages } from "../src/apko/layers.ts";
import { folderFetcher, nodeGunzip, nodeRsa } from "../src/index.node.ts";
import { type ApkoBuild, type ApkoBuildOptions, type ApkoLayer, buildApko, parseApkoConfig, parsePackageInfo, writeApkoTar } from "../src/index.ts";
import { entry, indexFile, makeApk, makeSigner, type Signer, signed } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-apko-layers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = (base: string, more: Partial<ApkoBuildOptions> = {}): ApkoBuildOptions => ({
  architecture: "x86_64",
  epoch: 0,
  fetcher: folderFetcher(base),
  rsa: nodeRsa,
  gunzip: nodeGunzip,
  spool: async (stream) => ({ ...memorySource(await collect(stream)), close: () => undefined }),
  ...more,
});

describe("packages are grouped as apko's own test of it has them (pkg/build/layers_test.go)", () => {
  const one = (name: string, origin: string, installedSize: number, version = "1", replaces: readonly string[] = []) => ({
    info: { ...parsePackageInfo(`pkgname = ${name}\npkgver = ${version}\narch = x86_64\norigin = ${origin}\nsize = ${installedSize}\n`, name), replaces },
    entry: "",
  });
  const crane = one("crane", "crane", 100);
  const glibc = one("glibc", "glibc", 6113087);
  const posix = one("glibc-locale-posix", "glibc", 417444);
  const old = one("libcrypt1", "glibc", 23508, "2.38-r14");
  const fresh = one("libcrypt1", "glibc", 23508, "2.38-r16");
  const bounded = one("libxcrypt", "libxcrypt", 235761, "1", ["libcrypt1<2.38-r15"]);
  const any = one("libxcrypt", "libxcrypt", 235761, "1", ["libcrypt1", "not-there"]);

  test.each([
    ["one", [crane], 1, ["crane"]],
    ["those of one origin together", [crane, glibc, posix], 2, ["glibc glibc-locale-posix", "crane"]],
    ["a budget of none is a budget of one", [crane, glibc, posix], 0, ["crane glibc glibc-locale-posix"]],
    ["what replaces another is with it", [crane, glibc, posix, old, bounded], 5, ["glibc glibc-locale-posix libcrypt1 libxcrypt", "crane"]],
    ["but not when it replaces other versions", [crane, glibc, posix, fresh, bounded], 5, ["glibc glibc-locale-posix libcrypt1", "libxcrypt", "crane"]],
    ["any version", [crane, glibc, posix, fresh, any], 5, ["glibc glibc-locale-posix libcrypt1 libxcrypt", "crane"]],
    ["the smallest share the last one", [crane, glibc, posix, fresh, bounded], 2, ["glibc glibc-locale-posix libcrypt1", "crane libxcrypt"]],
    ["of equal sizes by the last name", [one("b", "1", 5), one("z", "2", 3), one("a", "2", 2), one("c", "3", 5)], 3, ["b", "c", "a z"]],
  ])("%s", (_, packages, budget, groups) => {
    const found = (order: typeof packages) => groupPackages(order, budget).map((group) => group.map(({ info }) => info.name).join(" "));
    expect(found(packages)).toEqual(groups);
    expect(found([...packages].reverse())).toEqual(groups);
  });
});

/** The entries of a layer in the archive that apko writes, with the times of folders. */
async function listed({ tree }: ApkoLayer, whole: Tree): Promise<string[]> {
  const { nodes } = await readTarEntries(memorySource(await collect(writeApkoTar(tree, { whole }))), { name: "layer" });
  return nodes.map(({ type, path, mtime }) => (type === "directory" ? `${path}/ ${mtime / 1_000_000_000n}` : path));
}

async function text(tree: Tree, path: string): Promise<string | undefined> {
  const node = tree.get(path);
  return node?.type === "file" ? Buffer.from(await node.content.read(0, node.content.size)).toString() : undefined;
}

const layersOf = (built: ApkoBuild): readonly ApkoLayer[] => built.layersOf?.(built.tree) ?? [];

describe("a configuration with layering", () => {
  let signer: Signer;
  beforeAll(() => {
    signer = makeSigner("test.rsa.pub");
    writeFileSync(join(folder, "test.rsa.pub"), signer.pem);
    mkdirSync(join(folder, "repo/x86_64"), { recursive: true });
    const packages: readonly [name: string, origin: string, size: number, files: Readonly<Record<string, string>>, times: number][] = [
      [
        "big",
        "big",
        300,
        { "etc/": "", "etc/big/": "", "etc/big/conf": "b", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "usr/": "", "usr/bin/": "", "usr/bin/big": "b" },
        100,
      ],
      ["mid-a", "mid", 100, { "usr/": "", "usr/bin/": "", "usr/bin/a": "a" }, 200],
      ["mid-b", "mid", 100, { "usr/": "", "usr/bin/": "", "usr/bin/b": "b", "usr/lib/": "", "usr/lib/libb": "b" }, 300],
      ["small", "small", 1, { "usr/": "", "usr/share/": "", "usr/share/small": "s", z: "z" }, 400],
    ];
    const entries = packages.map(([name, origin, size, files, time]) => {
      const made = makeApk({
        name,
        signer,
        files,
        time,
        change: (t) => `${t.replace(/depend = .*\n/g, "").replace("size = 10", `size = ${size}`)}origin = ${origin}\n`,
      });
      writeFileSync(join(folder, "repo/x86_64", `${name}-1.0-r0.apk`), made.bytes);
      return entry({ name, checksum: made.checksum });
    });
    writeFileSync(join(folder, "repo/x86_64/APKINDEX.tar.gz"), signed(indexFile(entries), signer));
  });

  const config = (layering: object | undefined) =>
    parseApkoConfig(
      {
        contents: { keyring: ["test.rsa.pub"], repositories: ["repo"], packages: ["big", "mid-a", "mid-b", "small"] },
        archs: ["x86_64"],
        accounts: { users: [{ username: "app", uid: 1000 }] },
        layering,
      },
      "apko.yaml",
    );

  // By hand, from apko's splitLayers: a file takes along the folders of the stack, which is that of the folder that the walk saw last; their
  // time is the file's. `etc/passwd` stands behind etc/big, `z` behind all of var.
  test("has for each group its files and their folders, and in the last layer every folder and the rest", async () => {
    const built = await buildApko(config({ strategy: "origin", budget: 2 }), options(folder));
    const layers = layersOf(built);
    expect(layers.map(({ names }) => names)).toEqual([["big"], ["mid-a", "mid-b", "small"], []]);
    const [first, second, last] = layers as [ApkoLayer, ApkoLayer, ApkoLayer];
    expect(await listed(first, built.tree)).toEqual([
      "etc/ 100",
      "etc/big/ 100",
      "etc/big/conf",
      "etc/passwd",
      "usr/ 100",
      "usr/bin/ 100",
      "usr/bin/big",
      "usr/lib/ 0",
      "usr/lib/apk/ 0",
      "usr/lib/apk/db/ 0",
      "usr/lib/apk/db/installed",
    ]);
    expect(await listed(second, built.tree)).toEqual([
      "usr/ 200",
      "usr/bin/ 200",
      "usr/bin/a",
      "usr/bin/b",
      "usr/lib/ 0",
      "usr/lib/apk/ 0",
      "usr/lib/apk/db/ 0",
      "usr/lib/apk/db/installed",
      "usr/lib/apk/exec/ 300",
      "usr/lib/libb",
      "usr/share/ 400",
      "usr/share/small",
      "var/ 400",
      "var/cache/ 400",
      "var/cache/misc/ 400",
      "z",
    ]);
    const rest = await listed(last, built.tree);
    const own = ["etc/big/conf", "etc/passwd", "usr/bin/a", "usr/bin/b", "usr/bin/big", "usr/lib/libb", "usr/share/small", "z"];
    expect(rest).toEqual((await listed({ names: [], tree: built.tree }, built.tree)).filter((line) => !own.includes(line)));
    expect(rest).toEqual(expect.arrayContaining(["etc/ 100", "etc/apko.json", "etc/shadow", "usr/lib/apk/db/installed"]));
    built.close();
  });

  test("has a part of the database in each layer, and all of it in the last", async () => {
    const built = await buildApko(config({ strategy: "origin", budget: 9 }), options(folder));
    const parts = await Promise.all(layersOf(built).map(({ tree }) => text(tree, "usr/lib/apk/db/installed")));
    const names = (part: string | undefined): string[] => [...(part ?? "").matchAll(/^P:(.*)$/gm)].map(([, name]) => name ?? "");
    expect(parts.map(names)).toEqual([["big"], ["mid-a", "mid-b"], ["small"], ["big", "mid-a", "mid-b", "small"]]);
    expect(parts.slice(0, 3).join("")).toBe(parts[3]);
    // An account that the configuration adds is in the file of the package that brought it.
    expect(await text(layersOf(built)[0]?.tree as Tree, "etc/passwd")).toContain("app:x:1000:");
    built.close();
  });

  test("says so in apko.json; an empty one is none", async () => {
    const json = async (layering: object | undefined) => {
      const built = await buildApko(config(layering), options(folder));
      const found = JSON.parse((await text(built.tree, "etc/apko.json")) ?? "").layering;
      built.close();
      return [found, built.layersOf === undefined];
    };
    expect(await json({ strategy: "origin", budget: 2 })).toEqual([{ strategy: "origin", budget: 2 }, false]);
    expect(await json({ strategy: "origin", budget: 0 })).toEqual([{ strategy: "origin" }, false]);
    expect(await json({})).toEqual([{}, true]);
    expect(await json(undefined)).toEqual([undefined, true]);
  });
});

// By hand, from apko's pkg/tarfs: what is created has no time, a link that of its folder, and a file that is written again keeps its own.
test("times are apko's: 0 for what no package brings, whatever the epoch", async () => {
  const signer = makeSigner("times.rsa.pub");
  writeFileSync(join(folder, "times.rsa.pub"), signer.pem);
  mkdirSync(join(folder, "times/x86_64"), { recursive: true });
  const { bytes, checksum } = makeApk({
    name: "busybox",
    signer,
    time: 500,
    files: {
      "etc/": "",
      "etc/passwd": "",
      "etc/busybox-paths.d/": "",
      "etc/busybox-paths.d/busybox": "/sbin/init\n",
      "etc/ssl/": "",
      "etc/ssl/certs/": "",
      "etc/ssl/certs/ca-certificates.crt": "c",
      "bin/": "",
      "bin/busybox": "b",
    },
    change: (t) => t.replace(/depend = .*\n/g, ""),
  });
  writeFileSync(join(folder, "times/x86_64/busybox-1.0-r0.apk"), bytes);
  writeFileSync(join(folder, "times/x86_64/APKINDEX.tar.gz"), signed(indexFile([entry({ name: "busybox", checksum })]), signer));
  const config = parseApkoConfig(
    {
      contents: { keyring: ["times.rsa.pub"], repositories: ["times"], packages: ["busybox"] },
      archs: ["x86_64"],
      accounts: { users: [{ username: "app", uid: 1000 }], groups: [{ groupname: "app", gid: 1000 }] },
      paths: [
        { path: "/etc/link", type: "symlink", source: "passwd", permissions: 0o644 },
        { path: "/srv/link", type: "symlink", source: "/etc/link", permissions: 0o644 },
      ],
    },
    "apko.yaml",
  );
  const built = await buildApko(config, options(folder, { epoch: 1000 }));
  const times = Object.fromEntries([...built.tree].map(({ path, mtime }) => [path, Number(mtime / 1_000_000_000n)]));
  expect(times).toMatchObject({
    "etc/passwd": 500,
    "etc/group": 0,
    "etc/apko.json": 0,
    "etc/link": 500,
    "srv/link": 0,
    "home/app": 0,
    sbin: 500,
    "sbin/init": 500,
    "dev/null": 0,
    "usr/lib/apk/db/installed": 0,
    "etc/ssl/certs/.ca-certificates.crt.sha256": 1000,
  });
  const scripts = built.tree.get("usr/lib/apk/db/scripts.tar");
  const { nodes } = await readTarEntries(scripts?.type === "file" ? scripts.content : memorySource(new Uint8Array()), { name: "scripts" });
  expect(nodes.map(({ mtime }) => mtime)).toEqual([1000n * 1_000_000_000n]);
  built.close();
});

withRealData("apko's own example with layering: the layers of its two packages, and names of owners from the whole", async () => {
  const config = parseApkoConfig(
    {
      contents: { keyring: ["./testdata/melange.rsa.pub"], repositories: ["./testdata/packages"], packages: ["replayout"] },
      archs: ["x86_64"],
      layering: { strategy: "origin", budget: 2 },
    },
    "apko.yaml",
  );
  const built = await buildApko(config, options(realData));
  // The one replaces the other.
  expect(layersOf(built).map(({ names }) => names)).toEqual([["pretend-baselayout", "replayout"], []]);
  expect(await listed(layersOf(built)[0] as ApkoLayer, built.tree)).toEqual([
    "etc/ 0",
    "etc/apk/ 0",
    "etc/apk/keys/ 0",
    "etc/os-release",
    "usr/ 0",
    "usr/lib/ 0",
    "usr/lib/apk/ 0",
    "usr/lib/apk/db/ 0",
    "usr/lib/apk/db/installed",
    "var/ 0",
    "var/lib/ 0",
    "var/lib/db/ 0",
    "var/lib/db/sbom/ 0",
    "var/lib/db/sbom/pretend-baselayout-1.0.0-r0.spdx.json",
    "var/lib/db/sbom/replayout-1.0.0-r0.spdx.json",
  ]);
  built.close();
});
