import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { pathMatcher } from "../src/normalise/glob.ts";
import { maskModes } from "../src/normalise/modes.ts";
import { overlay } from "../src/normalise/overlay.ts";
import { mapOwners } from "../src/normalise/owners.ts";
import { filterPaths, movePrefix, stripPrefix } from "../src/normalise/paths.ts";
import { scrub, scrubProfiles } from "../src/normalise/scrub.ts";
import { findSuspects } from "../src/normalise/suspects.ts";
import { treeFromObject } from "../src/object.ts";
import type { Tree } from "../src/tree.ts";
import { differences } from "./tar-craft.ts";

const paths = (tree: Tree): string[] => [...tree].map((node) => node.path).filter((path) => path !== "");

async function contentOf(tree: Tree, path: string): Promise<string> {
  const node = tree.get(path);
  const inode = node === undefined ? undefined : tree.inode(node);
  if (inode?.type !== "file") throw new Error(`${path} is no file`);
  return new TextDecoder().decode(await inode.content.read(0, inode.content.size));
}

describe("patterns", () => {
  const table: [pattern: string, matching: string[], others: string[]][] = [
    ["*.pyc", ["a.pyc", "x/y/b.pyc"], ["a.py", "a.pyc/b"]],
    ["etc/*.conf", ["etc/a.conf"], ["etc/x/a.conf", "a.conf", "x/etc/a.conf"]],
    ["/etc/**", ["etc/a", "etc/a/b"], ["etc", "x/etc/a"]],
    ["**/doc/*", ["doc/a", "usr/share/doc/a"], ["doc", "usr/doc/a/b"]],
    ["usr/**/doc", ["usr/doc", "usr/a/b/doc"], ["doc", "usr/a"]],
    ["a?c", ["abc", "x/a.c"], ["ac", "a/c"]],
    ["a+(b)[c]", ["a+(b)[c]"], ["aab"]],
  ];
  test.each(table)("%s", (pattern, matching, others) => {
    const matches = pathMatcher(pattern);
    expect(matching.filter((path) => !matches(path))).toEqual([]);
    expect(others.filter(matches)).toEqual([]);
  });
});

describe("paths", () => {
  const tree = treeFromObject({ "etc/a.conf": "1", "etc/b": { hardlink: "etc/a.conf" }, "usr/share/doc/x/copyright": "c", "usr/bin/t": "t" });

  test("what is excluded goes with all that is in it, and a further name keeps the content", async () => {
    const { tree: out, changes } = filterPaths(tree, { exclude: ["etc/a.conf", "usr/share"] });
    expect(paths(out)).toEqual(["etc", "etc/b", "usr", "usr/bin", "usr/bin/t"]);
    expect(out.get("etc/b")?.type).toBe("file");
    expect(await contentOf(out, "etc/b")).toBe("1");
    expect(changes.map((change) => `${change.action} ${change.path} ${change.detail}`)).toContain("removed usr/share/doc/x excluded");
  });

  test("what is included stays with what is in it and the folders above", () => {
    expect(paths(filterPaths(tree, { include: ["usr/share/doc/*"], exclude: ["nothing"] }).tree)).toEqual([
      "usr",
      "usr/share",
      "usr/share/doc",
      "usr/share/doc/x",
      "usr/share/doc/x/copyright",
    ]);
  });

  test("a prefix is put on and taken off again", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ names: "ascii" }), async (random) => {
        const below = movePrefix(random, "", "opt/root").tree;
        expect(paths(below).filter((path) => !path.startsWith("opt"))).toEqual([]);
        expect(
          await differences(
            movePrefix(below, "opt/root", "").tree.map((node) => (node.path === "opt" ? undefined : node)),
            random,
          ),
        ).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  test("a folder becomes the root, with nothing of what was beside it but the content of links", async () => {
    const whole = treeFromObject({
      a: "outside",
      "opt/r/b": { hardlink: "a" },
      "opt/r/c": { hardlink: "a" },
      "opt/r/opt": "inner",
      "opt/x": "gone",
      "opt/r": { mode: 0o700 },
    });
    const { tree: out } = stripPrefix(whole, "opt/r");
    expect(paths(out)).toEqual(["b", "c", "opt"]);
    expect(out.get("")?.mode).toBe(0o700);
    expect(await contentOf(out, "c")).toBe("outside");
    expect(out.get("c")).toMatchObject({ type: "hardlink", target: "b" });
    expect(() => stripPrefix(whole, "opt/y")).toThrow(expect.objectContaining({ code: "BAD_PATH" }));
    await fc.assert(
      fc.asyncProperty(arbitraryTree(), async (random) => {
        expect(await differences(stripPrefix(movePrefix(random, "", "opt/root").tree, "opt/root").tree, random)).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  test("a move onto something that is there is refused", () => {
    expect(() => movePrefix(tree, "usr/bin/t", "etc/b")).toThrow(expect.objectContaining({ code: "DUPLICATE_PATH" }));
  });
});

describe("an overlay", () => {
  const base = treeFromObject({
    "etc/motd": { content: "old", mode: 0o600 },
    "etc/keep": "k",
    lib: { symlink: "usr/lib" },
    "usr/lib/a": "a",
    first: "same",
    second: { hardlink: "first" },
    third: { hardlink: "first" },
  });

  test("replaces files, merges folders, and never follows a link", async () => {
    const { tree, changes } = overlay(base, treeFromObject({ "etc/motd": "new", "lib/b": "b", "etc/keep/x": "now a folder" }));
    expect(paths(tree)).toEqual(["etc", "etc/keep", "etc/keep/x", "etc/motd", "first", "lib", "lib/b", "second", "third", "usr", "usr/lib", "usr/lib/a"]);
    expect(await contentOf(tree, "etc/motd")).toBe("new");
    expect(tree.get("lib")?.type).toBe("directory");
    expect(changes.filter((change) => change.action === "added").map((change) => change.path)).toEqual(["etc/keep/x", "lib/b"]);
  });

  test("a file over a folder takes what is in it away", () => {
    expect(paths(overlay(base, treeFromObject({ etc: "a file" })).tree)).not.toContain("etc/motd");
  });

  test("further names of a replaced file keep the old content and stay one inode", async () => {
    const { tree } = overlay(base, treeFromObject({ first: "other" }));
    expect(await contentOf(tree, "first")).toBe("other");
    expect(await contentOf(tree, "third")).toBe("same");
    expect(tree.get("third")).toMatchObject({ type: "hardlink", target: "second" });
  });

  test("folders keep the base's metadata when that is asked for", () => {
    const strict = treeFromObject({ etc: { mode: 0o700, uid: 3 }, "etc/a": "1" });
    const more = treeFromObject({ "etc/b": "2" });
    expect(overlay(strict, more, { folders: "base" }).tree.get("etc")).toMatchObject({ mode: 0o700, uid: 3 });
    expect(overlay(strict, more).tree.get("etc")).toMatchObject({ mode: 0o755, uid: 0 });
  });

  test("over anything, a tree is itself where it is, and over itself nothing changes", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree(), arbitraryTree(), async (under, over) => {
        const { tree } = overlay(under, over);
        for (const node of over) expect(tree.get(node.path)?.mode).toBe(node.mode);
        expect(await differences(overlay(over, over).tree, over)).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });
});

describe("owners and modes", () => {
  test("ids are mapped by ranges and back, and an id outside is refused by name", async () => {
    const tree = treeFromObject({ a: { content: "x", uid: 0, gid: 5 }, b: { content: "y", uid: 999, gid: 999 } });
    const up = { uid: [{ from: 0, to: 100_000, count: 1000 }], gid: [{ from: 0, to: 200_000, count: 1000 }] };
    const down = { uid: [{ from: 100_000, to: 0, count: 1000 }], gid: [{ from: 200_000, to: 0, count: 1000 }] };
    const shifted = mapOwners(tree, up).tree;
    expect(shifted.get("b")).toMatchObject({ uid: 100_999, gid: 200_999 });
    expect(await differences(mapOwners(shifted, down).tree, tree)).toEqual([]);
    expect(() => mapOwners(tree, { uid: [{ from: 0, to: 0, count: 999 }] })).toThrow(
      /b: an id that the map does not hold .*field uid; expected 0 to 998, found 999/,
    );
  });

  test("bits are taken and given, symbolic links are left alone, the given tree too", () => {
    const tree = treeFromObject({ su: { content: "", mode: 0o4777 }, l: { symlink: "su" } });
    const { tree: out, changes } = maskModes(tree, { clear: 0o6022, set: 0o100 });
    expect([out.get("su")?.mode, out.get("l")?.mode, tree.get("su")?.mode]).toEqual([0o755, 0o777, 0o4777]);
    expect(changes).toMatchObject([{ path: "su", action: "mode", detail: "4777 became 755" }]);
  });
});

describe("profiles", () => {
  test("debian-slim goes without what is for readers, and keeps every copyright", () => {
    const tree = treeFromObject({
      "usr/share/doc/a/copyright": "c",
      "usr/share/doc/a/changelog.gz": "x",
      "usr/share/doc/b": { symlink: "a" },
      "usr/share/doc/c/only": "x",
      "usr/share/man/man1/a.1.gz": "x",
      "usr/share/locale/de/x": "x",
      "usr/share/info/dir": "x",
      "var/cache/apt/pkgcache.bin": "x",
      "usr/share/other": "stays",
    });
    expect(paths(scrub(tree, scrubProfiles["debian-slim"]).tree)).toEqual([
      ...["usr", "usr/share", "usr/share/doc", "usr/share/doc/a", "usr/share/doc/a/copyright", "usr/share/doc/b"],
      ...["usr/share/info", "usr/share/locale", "usr/share/man", "usr/share/other", "var", "var/cache", "var/cache/apt"],
    ]);
  });

  test("wolfi goes without apk's cache, log and lock, and keeps its database", () => {
    const tree = treeFromObject({
      "var/cache/apk/APKINDEX.tar.gz": "x",
      "var/log/apk.log": "x",
      "usr/lib/apk/db/lock": "",
      "usr/lib/apk/db/installed": "i",
      "etc/machine-id": "0123",
    });
    expect(paths(scrub(tree, scrubProfiles.wolfi).tree)).toEqual([
      "etc",
      "etc/machine-id",
      "usr",
      "usr/lib",
      "usr/lib/apk",
      "usr/lib/apk/db",
      "usr/lib/apk/db/installed",
      "var",
      "var/cache",
      "var/cache/apk",
      "var/log",
    ]);
  });
});

describe("suspects", () => {
  test("each is named with its reason, and nothing is removed", async () => {
    const tree = treeFromObject({
      "etc/ssh/ssh_host_ed25519_key": "k",
      "etc/ssh/ssh_config": "fine",
      "etc/nvme/hostid": "h",
      "etc/hostname": "builder",
      "etc/resolv.conf": "",
      "etc/hosts": "127.0.0.1 localhost\n",
      "etc/iscsi/initiatorname.iscsi": "i",
      "etc/ssl/private/ssl-cert-snakeoil.key": "k",
      "etc/shadow": "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nx:!::0:99999:7:::\n",
      "var/lib/systemd/random-seed": "r",
      "usr/lib/python3/__pycache__/a.cpython-311.pyc": "p",
      "usr/lib/x.la": "libdir='/build/hello-2.10-AbCdEf/usr'\n",
      "usr/lib/y.pc": "prefix=/usr\n",
      "var/lib/dkms/z/make.log": "l",
    });
    expect((await findSuspects(tree)).map((suspect) => `${suspect.code} ${suspect.path}`)).toEqual([
      "HOST_CONFIGURATION etc/hostname",
      "HOST_IDENTITY etc/iscsi/initiatorname.iscsi",
      "HOST_IDENTITY etc/nvme/hostid",
      "PASSWORD_DATE etc/shadow",
      "HOST_KEY etc/ssh/ssh_host_ed25519_key",
      "HOST_KEY etc/ssl/private/ssl-cert-snakeoil.key",
      "PYTHON_CACHE usr/lib/python3/__pycache__",
      "PYTHON_CACHE usr/lib/python3/__pycache__/a.cpython-311.pyc",
      "BUILD_PATH usr/lib/x.la",
      "BUILD_LOG var/lib/dkms/z/make.log",
      "RANDOM_SEED var/lib/systemd/random-seed",
    ]);
  });

  test("the fixture, scrubbed, has no host keys and no seeds", async () => {
    const codes = (await findSuspects(scrub(fixtureTree(), scrubProfiles.debian).tree)).map((suspect) => suspect.code);
    expect(codes).not.toContain("HOST_KEY");
    expect(codes).not.toContain("RANDOM_SEED");
  });
});
