import { memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { noXattrs, type TreeNode } from "../src/node.ts";
import { normalise } from "../src/normalise/normalise.ts";
import { setOwner } from "../src/normalise/owners.ts";
import { scrub, scrubProfiles } from "../src/normalise/scrub.ts";
import type { Normalised } from "../src/normalise/step.ts";
import { normaliseTimes } from "../src/normalise/times.ts";
import { filterXattrs } from "../src/normalise/xattrs.ts";
import { Tree } from "../src/tree.ts";
import { bytes, differences, tarBytes } from "./tar-craft.ts";

const second = 1_000_000_000n;
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
const file = (path: string, content = "x", more: object = {}): TreeNode => ({ ...meta, type: "file", path, content: memorySource(bytes(content)), ...more });
const link = (path: string, target: string): TreeNode => ({ ...meta, type: "hardlink", path, target });
const symlink = (path: string, target: string): TreeNode => ({ ...meta, type: "symlink", path, target });
const folder = (path: string): TreeNode => ({ ...meta, type: "directory", path, mode: 0o755 });
const paths = (tree: Tree): string[] => [...tree].map((node) => node.path);
const size = (tree: Tree, path: string): number | undefined => {
  const node = tree.get(path);
  const inode = node === undefined ? undefined : tree.inode(node);
  return inode?.type === "file" ? inode.content.size : undefined;
};

describe("the scrub profile debian", () => {
  const { debian } = scrubProfiles;

  // What pitfalls of the field list (debuerreotype's .tar-exclude, mmdebstrap's run_cleanup), written a second time.
  const removed: [rule: string, gone: string[], kept: string[]][] = [
    ["/proc", ["proc/1", "proc/a/b"], ["proc", "procfs", "usr/proc/x"]],
    ["/sys", ["sys/block"], ["sys", "sysroot"]],
    ["/dev", ["dev/null", "dev/pts/0"], ["dev", "usr/dev/x"]],
    ["/tmp", ["tmp/a", "tmp/.X11-unix/X0"], ["tmp", "var/tmp/kept"]],
    ["/run", ["run/utmp", "run/mount/utab", "run/lockfile", "run/user/lock"], ["run", "run/lock", "run/lock/subsys", "var/run/x"]],
    [
      "/var/cache/apt",
      ["var/cache/apt/pkgcache.bin", "var/cache/apt/archives/lock", "var/cache/apt/archives/partial"],
      ["var/cache/apt", "var/cache/apt-show/x", "var/cache/debconf/config.dat"],
    ],
    [
      "/var/lib/apt/lists",
      ["var/lib/apt/lists/lock", "var/lib/apt/lists/partial/x"],
      ["var/lib/apt/lists", "var/lib/apt/extended_states", "var/lib/apt/lists-old"],
    ],
    ["/var/state/apt/lists", ["var/state/apt/lists/x"], ["var/state/apt/lists"]],
    ["/var/log/dpkg.log", ["var/log/dpkg.log"], ["var/log/dpkg.log.1", "var/log"]],
    ["/var/log/bootstrap.log", ["var/log/bootstrap.log"], ["var/log/faillog"]],
    ["/var/log/alternatives.log", ["var/log/alternatives.log"], ["var/log/alternatives.log.1.gz"]],
    ["/var/log/apt/history.log", ["var/log/apt/history.log"], ["var/log/apt", "var/log/apt/history.log.1"]],
    ["/var/log/apt/term.log", ["var/log/apt/term.log"], ["var/log/apt/term.log.old"]],
    ["/var/log/apt/eipp.log.xz", ["var/log/apt/eipp.log.xz"], ["var/log/apt/eipp.log"]],
    ["/var/cache/ldconfig/aux-cache", ["var/cache/ldconfig/aux-cache"], ["var/cache/ldconfig", "var/cache/ldconfig/other"]],
    ["/var/lib/dbus/machine-id", ["var/lib/dbus/machine-id"], ["var/lib/dbus"]],
    ["/var/lib/systemd/catalog/database", ["var/lib/systemd/catalog/database"], ["var/lib/systemd/catalog"]],
    ["/etc/apt/apt.conf.d/01autoremove-kernels", ["etc/apt/apt.conf.d/01autoremove-kernels"], ["etc/apt/apt.conf.d/01autoremove"]],
    ["/etc/apt/apt.conf.d/00mmdebstrap", ["etc/apt/apt.conf.d/00mmdebstrap"], ["etc/apt/apt.conf.d/50ours"]],
    ["/etc/apt/trustdb.gpg", ["etc/apt/trustdb.gpg"], ["etc/apt/trusted.gpg.d/debian.asc"]],
  ];

  test.each(removed)("%s: removes what it says and nothing beside", (_, gone, kept) => {
    const isFolder = (path: string): boolean => [...gone, ...kept].some((other) => other.startsWith(`${path}/`));
    const nodes = [...gone, ...kept].map((path) => (isFolder(path) ? folder(path) : file(path)));
    const tree = Tree.from(nodes);
    const result = scrub(tree, debian);
    const left = new Set(paths(result.tree));
    expect(kept.filter((path) => !left.has(path))).toEqual([]);
    expect(gone.filter((path) => left.has(path))).toEqual([]);
    expect(new Set(result.changes.map((change) => change.path))).toEqual(new Set(paths(tree).filter((path) => !left.has(path))));
    for (const { action, detail } of result.changes) {
      expect(action).toBe("removed");
      expect(detail).toMatch(/^[a-z].{15,}/);
    }
  });

  test("each of its rules is in the table above, or empties /etc/machine-id", () => {
    const rules = debian.rules.map((rule) => `${rule.what === "empty" ? "empty " : ""}/${rule.path}`);
    expect(rules.sort()).toEqual([...removed.map(([rule]) => rule), "empty /etc/machine-id"].sort());
  });

  test("/etc/machine-id is emptied, with its mode and owner kept", () => {
    const { tree, changes } = scrub(Tree.from([file("etc/machine-id", "0123\n", { mode: 0o444, uid: 5 })]), debian);
    expect(tree.get("etc/machine-id")).toMatchObject({ type: "file", mode: 0o444, uid: 5, content: { size: 0 } });
    expect(changes.map(({ path, action }) => [path, action])).toEqual([["etc/machine-id", "emptied"]]);
  });

  test("/etc/machine-id is left alone when it is empty, a symlink, or not there", () => {
    for (const node of [file("etc/machine-id", ""), symlink("etc/machine-id", "../run/machine-id"), file("etc/other")]) {
      const tree = Tree.from([node]);
      const result = scrub(tree, debian);
      expect(result.changes).toEqual([]);
      expect(paths(result.tree)).toEqual(paths(tree));
    }
  });

  test.each(["a/id", "z/id"])("/etc/machine-id with another name %s is emptied under both, as writing to it would", (other) => {
    const { tree, changes } = scrub(Tree.from([file("etc/machine-id", "0123\n"), link(other, "etc/machine-id")]), debian);
    expect([size(tree, "etc/machine-id"), size(tree, other)]).toEqual([0, 0]);
    expect(changes.map(({ path, action }) => [path, action]).sort()).toEqual(
      [
        [other, "emptied"],
        ["etc/machine-id", "emptied"],
      ].sort(),
    );
  });

  test("/etc/machine-id that shares its inode with the removed one of dbus is emptied too", () => {
    for (const nodes of [
      [file("etc/machine-id", "0123\n"), link("var/lib/dbus/machine-id", "etc/machine-id")],
      [file("dev/id", "0123\n"), link("etc/machine-id", "dev/id"), link("var/lib/dbus/machine-id", "dev/id")],
    ]) {
      const { tree } = scrub(Tree.from(nodes), debian);
      expect(size(tree, "etc/machine-id")).toBe(0);
      expect(tree.has("var/lib/dbus/machine-id")).toBe(false);
    }
  });

  test("a hard link to a removed file keeps the content, and further names stay one file", () => {
    const { tree } = scrub(Tree.from([file("dev/keep", "content"), link("opt/keep", "dev/keep"), link("srv/keep", "dev/keep")]), debian);
    expect(paths(tree)).toEqual(["", "dev", "opt", "opt/keep", "srv", "srv/keep"]);
    expect(size(tree, "opt/keep")).toBe(7);
    expect(tree.get("srv/keep")).toMatchObject({ type: "hardlink", target: "opt/keep" });
  });

  test("a folder that stands where a rule names a file goes with what is in it", () => {
    const { tree } = scrub(Tree.from([file("etc/apt/trustdb.gpg/a"), file("etc/apt/sources.list")]), debian);
    expect(paths(tree)).toEqual(["", "etc", "etc/apt", "etc/apt/sources.list"]);
  });

  test("of the fixture, everything made to differ is gone and everything else is there", async () => {
    const { tree, changes } = scrub(fixtureTree(), debian);
    const lines = await differences(fixtureTree(), tree);
    expect(lines.filter((line) => !line.endsWith(" only in the first"))).toEqual(["/etc/machine-id: content differs from byte 0 (33 and 0 bytes)"]);
    expect(lines.length).toBe(changes.length);
    expect(tree.get("run/lock")).toEqual(fixtureTree().get("run/lock"));
    expect(tree.has("etc/apt/apt.conf.d/50kept")).toBe(true);
  });

  test("twice is as once", () => {
    const once = scrub(fixtureTree(), debian);
    expect(scrub(once.tree, debian).changes).toEqual([]);
  });
});

test("the profile none changes nothing", async () => {
  const { tree, changes } = scrub(fixtureTree(), scrubProfiles.none);
  expect(changes).toEqual([]);
  expect(await differences(fixtureTree(), tree)).toEqual([]);
});

describe("times", () => {
  const times = [-1n, 0n, 9n * second, 10n * second - 1n, 10n * second, 10n * second + 1n, 99n * second];
  const tree = Tree.from([folder(""), ...times.map((mtime, i) => file(`f${i}`, "", { mtime }))]);
  const mtimes = (result: Normalised): bigint[] => [...result.tree].slice(1).map((node) => node.mtime);

  test("clamp: later ones become the epoch, earlier ones keep their nanoseconds", () => {
    const result = normaliseTimes(tree, 10);
    expect(mtimes(result)).toEqual([...times.slice(0, 5), 10n * second, 10n * second]);
    expect(result.changes).toEqual([
      { path: "f5", action: "time", detail: "10.000000001 became 10" },
      { path: "f6", action: "time", detail: "99 became 10" },
    ]);
  });

  test("set: all become the epoch", () => {
    const result = normaliseTimes(tree, 10, "set");
    expect(mtimes(result)).toEqual(times.map(() => 10n * second));
    expect(result.changes.map((change) => change.path)).toEqual(["", "f0", "f1", "f2", "f3", "f5", "f6"]);
  });

  test.each([-1, 1.5, 2 ** 33, Number.NaN])("an epoch of %d is refused", (epoch) => {
    expect(() => normaliseTimes(tree, epoch)).toThrow(expect.objectContaining({ code: "BAD_EPOCH" }));
  });

  test("of any tree: afterwards none is later than the epoch, and twice is as once", () => {
    fc.assert(
      fc.property(arbitraryTree({ limits: "tree", maxFileSize: 10 }), fc.nat(2 ** 33 - 1), (any, epoch) => {
        const result = normaliseTimes(any, epoch);
        for (const node of result.tree) {
          const before = any.get(node.path)?.mtime ?? 0n;
          expect(node.mtime).toBe(before > BigInt(epoch) * second ? BigInt(epoch) * second : before);
        }
        expect(normaliseTimes(result.tree, epoch).changes).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });
});

describe("owners", () => {
  const tree = Tree.from([folder(""), file("a", "", { uid: 1, gid: 2 }), file("b", "", { uid: 0, gid: 0 }), link("c", "a")]);
  const owners = (result: Normalised): string[] => [...result.tree].map((node) => `${node.uid}:${node.gid}`);

  test("become the given ones, hard links included", () => {
    const result = setOwner(tree, { uid: 5, gid: 6 });
    expect(owners(result)).toEqual(["5:6", "5:6", "5:6", "5:6"]);
    expect(result.changes[1]).toEqual({ path: "a", action: "owner", detail: "1:2 became 5:6" });
  });

  test("not given stay", () => {
    expect(owners(setOwner(tree, { uid: 5 }))).toEqual(["5:0", "5:2", "5:0", "5:2"]);
    expect(setOwner(tree, {}).changes).toEqual([]);
    expect(setOwner(tree, { uid: 0, gid: 0 }).changes.map((change) => change.path)).toEqual(["a", "c"]);
  });

  test("that no file system holds are refused", () => {
    expect(() => setOwner(tree, { uid: 2 ** 32 })).toThrow(expect.objectContaining({ code: "BAD_NODE" }));
    expect(() => setOwner(tree, { gid: -1 })).toThrow(expect.objectContaining({ code: "BAD_NODE" }));
  });
});

describe("the xattr policy", () => {
  const names = [
    "security.capability",
    "security.capability.x",
    "security.selinux",
    "security.ima",
    "user.a",
    "user.deep.name",
    "user.\n",
    "username.x",
    "system.posix_acl_access",
    "system.posix_acl_default",
    "system.nfs4_acl",
    "trusted.overlay.opaque",
    "trusted.user.x",
  ];
  const tree = (): Tree => Tree.from([file("a", "", { xattrs: new Map(names.map((name) => [name, bytes(name)])) }), link("b", "a"), file("c")]);
  const kept = (result: Normalised): string[] => [...(result.tree.get("a")?.xattrs.keys() ?? [])];

  test("by default keeps capabilities, access lists and user.*, and tells of each that it drops, once", () => {
    const result = filterXattrs(tree());
    expect(kept(result)).toEqual(["security.capability", "user.a", "user.deep.name", "user.\n", "system.posix_acl_access", "system.posix_acl_default"]);
    expect(result.changes.map(({ path, action, detail }) => `${path} ${action} ${detail}`)).toEqual(
      names.filter((name) => !kept(result).includes(name)).map((name) => `a xattr ${name} is not kept`),
    );
    expect(result.tree.get("b")?.xattrs).toEqual(result.tree.get("a")?.xattrs);
  });

  const table: [include: string[], exclude: string[], expected: string[]][] = [
    [["*"], [], names],
    [[], [], []],
    [["*"], ["*"], []],
    [["*"], ["trusted.*", "security.selinux", "security.ima"], names.filter((name) => !/^trusted|selinux|ima$/.test(name))],
    [["user.a"], [], ["user.a"]],
    [["user.?", "user.[a]", "user.a|b", "user.a$", "^user.a"], [], []],
    [["*user*"], ["user*"], ["trusted.user.x"]],
    [["*.*.*"], [], ["security.capability.x", "user.deep.name", "trusted.overlay.opaque", "trusted.user.x"]],
    [["user"], [], []],
    [["USER.*"], [], []],
  ];
  test.each(table)("include %j, exclude %j", (include, exclude, expected) => {
    expect(kept(filterXattrs(tree(), { include, exclude }))).toEqual(expected);
  });
});

describe("normalise", () => {
  test("is scrub, owners, xattrs, times, in this order, with the default policies", async () => {
    const options = { epoch: 1_700_000_000, profile: scrubProfiles.debian, owner: { uid: 0, gid: 0 } };
    const all = normalise(fixtureTree(), options);
    const scrubbed = scrub(fixtureTree(), options.profile);
    const owned = setOwner(scrubbed.tree, options.owner);
    const filtered = filterXattrs(owned.tree);
    const timed = normaliseTimes(filtered.tree, options.epoch, "clamp");
    expect(await differences(all.tree, timed.tree)).toEqual([]);
    expect(all.changes).toEqual([...scrubbed.changes, ...owned.changes, ...filtered.changes, ...timed.changes]);
  });

  test("without profile and owner changes neither", () => {
    const { changes } = normalise(fixtureTree(), { epoch: 2 ** 33 - 1 });
    expect(changes).toEqual([]);
  });

  test("of any tree leaves the tree that was given as it was", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree({ limits: "tree", maxXattrs: 3, maxFileSize: 600 }), fc.nat(2 ** 33 - 1), async (tree, epoch) => {
        const nodes = [...tree];
        const before = await tarBytes(tree);
        const profile = {
          name: "all",
          rules: [...tree].slice(1).map(({ path }, i) => ({ what: (["contents", "node", "empty"] as const)[i % 3] ?? "node", path, reason: "a test" })),
        };
        const result = normalise(tree, { epoch, times: "set", owner: { uid: 1, gid: 1 }, xattrs: { include: [], exclude: [] }, profile });
        expect([...result.tree].every((node) => node.uid === 1 && node.xattrs.size === 0 && node.mtime === BigInt(epoch) * second)).toBe(true);
        expect([...tree].every((node, i) => node === nodes[i])).toBe(true);
        expect(Buffer.compare(await tarBytes(tree), before)).toBe(0);
      }),
      { numRuns: 40 },
    );
  });
});
