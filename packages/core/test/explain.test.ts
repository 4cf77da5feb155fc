import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { type ByteSource, collect, memorySource } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { arbitraryTree } from "../../../fixtures/src/index.ts";
import { gnuTar135, oracle, oracleRoot } from "../../../test/oracle.ts";
import { explainTarBytes, explainTrees, groupCauses, noXattrs, readTar, Tree, type TreeNode, writeTar } from "../src/index.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs };
const file = (path: string, more: object = {}): TreeNode => ({ ...meta, type: "file", path, content: memorySource(new Uint8Array(1)), ...more });
const xattr = (name: string): object => ({ xattrs: new Map([[name, Uint8Array.of(1)]]) });

async function found(a: readonly TreeNode[], b: readonly TreeNode[]): Promise<string[]> {
  const { differences } = await explainTrees(Tree.from(a), Tree.from(b));
  return differences.flatMap(({ difference, causes }) => causes.map(({ code, detail }) => `${difference.path}: ${code}: ${detail}`));
}

describe("metadata: each difference has its cause", () => {
  const second = 1_000_000_000n;
  const folder: TreeNode = { ...meta, type: "directory", path: "" };
  const table: [string, TreeNode[], TreeNode[], string[]][] = [
    [
      "another time",
      [file("a", { mtime: 5n * second }), file("z", { mtime: 9n * second })],
      [file("a", { mtime: 6n * second }), file("z", { mtime: 9n * second })],
      ["a: time: time 5 and 6"],
    ],
    [
      "a time after the other side's clamp",
      [file("a", { mtime: 5n * second })],
      [file("a", { mtime: 6n * second + 1n })],
      ["a: time-clamped: time 5 and 6.000000001; the side of 5 has no later time"],
    ],
    ["a fraction of a second", [file("a", { mtime: 5n * second })], [file("a", { mtime: 5n * second + 500_000_000n })], ["a: time-fraction: time 5 and 5.5"]],
    [
      "before 1970",
      [file("a", { mtime: -1n }), file("z", { mtime: second })],
      [file("a", { mtime: -second - 1n }), file("z", { mtime: second })],
      ["a: time: time -0.000000001 and -1.000000001"],
    ],
    [
      "owners that are all root's on one side",
      [file("a")],
      [file("a", { uid: 1000, gid: 100 })],
      ["a: owner-zeroed: uid 0 and 1000", "a: owner-zeroed: gid 0 and 100"],
    ],
    ["other owners", [file("a", { uid: 5 })], [file("a", { uid: 6 })], ["a: owner: uid 5 and 6"]],
    ["a umask", [file("a", { mode: 0o666 })], [file("a", { mode: 0o644 })], ["a: umask: mode 0666 and 0644"]],
    ["setuid lost", [file("a", { mode: 0o4755 })], [file("a", { mode: 0o755 })], ["a: set-id-lost: mode 4755 and 0755"]],
    ["another mode", [file("a", { mode: 0o600 })], [file("a", { mode: 0o755 })], ["a: mode: mode 0600 and 0755"]],
    ["a capability on one side", [file("a", xattr("security.capability"))], [file("a")], ["a: capability-lost: security.capability 0x01 and (none)"]],
    ["an SELinux label", [file("a", xattr("security.selinux"))], [file("a")], ["a: host-label: security.selinux 0x01 and (none)"]],
    ["an overlay's mark", [file("a")], [file("a", xattr("trusted.overlay.opaque"))], ["a: overlay-mark: trusted.overlay.opaque (none) and 0x01"]],
    ["an attribute", [file("a")], [file("a", xattr("user.x"))], ["a: xattr: user.x (none) and 0x01"]],
    [
      "a link's text",
      [{ ...meta, type: "symlink", path: "l", target: "/x" }],
      [{ ...meta, type: "symlink", path: "l", target: "../x" }],
      ["l: link-text: to /x and ../x"],
    ],
    ["a kind of node", [file("a")], [{ ...meta, type: "fifo", path: "a" }], ["a: node-type: a file and fifo"]],
    [
      "a device",
      [{ ...meta, type: "char", path: "n", major: 1, minor: 3 }],
      [{ ...meta, type: "char", path: "n", major: 1, minor: 5 }],
      ["n: device-number: device 1:3 and 1:5"],
    ],
    [
      "a hard link that is a copy",
      [file("a"), { ...meta, type: "hardlink", path: "b", target: "a" }],
      [file("a"), file("b")],
      ["b: link-split: one inode with /a and with no earlier name"],
    ],
    ["a path on one side", [file("a"), folder], [folder], ["a: one-side-only: a file only in the first"]],
    [
      "a log on one side",
      [file("var/log/dpkg.log"), file("var/log/x")],
      [file("var/log/x")],
      ["var/log/dpkg.log: scrubbed: a log of the build, with its clock"],
    ],
    [
      "a time of what the profile takes out",
      [file("var/log/dpkg.log")],
      [file("var/log/dpkg.log", { mtime: 1n })],
      ["var/log/dpkg.log: scrubbed: a log of the build, with its clock"],
    ],
  ];
  test.each(table)("%s", async (_, a, b, expected) => {
    expect(await found(a, b)).toEqual(expected);
    expect(await found(a, a)).toEqual([]);
  });
});

describe("Debian packages of other versions", () => {
  const text = (content: string): object => ({ content: memorySource(new TextEncoder().encode(content)) });
  function debian(version: string, more: readonly TreeNode[]): TreeNode[] {
    const stanza = (name: string, v: string): string =>
      `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${v}\nDescription: x\n y\n\n`;
    return [
      file("var/lib/dpkg/status", text(stanza("dash", version) + stanza("same", "1"))),
      file("var/lib/dpkg/info/dash.list", text("/.\n/bin\n/bin/dash\n/usr\n/usr/share/dash\n/usr/share/dash/new\n")),
      file("var/lib/dpkg/info/same:amd64.list", text("/.\n/usr/bin/same\n")),
      { ...meta, type: "symlink", path: "bin", target: "usr/bin" },
      ...more,
    ];
  }

  test("explain their files, through the links of a merged /usr, and nobody else's", async () => {
    const a = debian("1-1", [file("usr/bin/dash", text("one")), file("usr/bin/same", text("one")), file("usr/bin/nobody", text("one"))]);
    const b = debian("1-2", [
      file("usr/bin/dash", { ...text("two"), mtime: 5n, uid: 7 }),
      file("usr/bin/same", text("two")),
      file("usr/bin/nobody", text("two")),
      file("usr/share/dash/new"),
    ]);
    const version = "package-version: dash:amd64 1-1 and 1-2";
    const lines = await found(a, b);
    expect(lines).toEqual([
      "usr/bin/dash: owner-zeroed: uid 0 and 7",
      `usr/bin/dash: ${version}`,
      `usr/bin/dash: ${version}`,
      'usr/bin/nobody: unknown: line 1: "one" and "two"',
      'usr/bin/same: unknown: line 1: "one" and "two"',
      "usr/share: one-side-only: a directory only in the second",
      `usr/share/dash: ${version}`,
      `usr/share/dash/new: ${version}`,
      "var/lib/dpkg/status: package-state: the order and choice of packages",
    ]);
  });
});

test("the clamp epoch is the latest that makes all times equal", async () => {
  const times = [fc.bigInt({ min: 0n, max: 10n ** 10n }), fc.bigInt({ min: 0n, max: 10n ** 10n })] as const;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(...times), { minLength: 1, maxLength: 5 }), async (pairs) => {
      const side = (which: 0 | 1): Tree => Tree.from(pairs.map((pair, i) => file(`f${i}`, { mtime: pair[which] })));
      const { clampEpoch } = await explainTrees(side(0), side(1));
      const equalAt = (epoch: bigint): boolean => pairs.every(([a, b]) => clamp(a, epoch) === clamp(b, epoch));
      if (clampEpoch === undefined) expect(pairs.every(([a, b]) => a === b)).toBe(true);
      else {
        expect(equalAt(BigInt(clampEpoch))).toBe(true);
        expect(equalAt(BigInt(clampEpoch) + 1n)).toBe(false);
      }
    }),
  );
});

function clamp(time: bigint, epoch: bigint): bigint {
  const limit = epoch * 1_000_000_000n;
  return time > limit ? limit : time;
}

test("a time before 1970 that differs has no clamp epoch", async () => {
  const { clampEpoch } = await explainTrees(Tree.from([file("a", { mtime: -5n })]), Tree.from([file("a")]));
  expect(clampEpoch).toBeUndefined();
});

test("a tree and itself: nothing", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryTree({ limits: "tree" }), async (tree) => {
      expect(await explainTrees(tree, Tree.from(tree))).toEqual({ differences: [], clampEpoch: undefined });
    }),
    { numRuns: 50 },
  );
});

describe("one mutation of a random tree is found where it is, and nothing else", () => {
  const size = (node: TreeNode): number => (node.type === "file" ? node.content.size : 0);
  const changed = (source: ByteSource, at: number): ByteSource => ({
    size: source.size,
    async read(start, end) {
      const bytes = (await source.read(start, end)).slice();
      if (at >= start && at < end) bytes[at - start] = (bytes[at - start] ?? 0) ^ 1;
      return bytes;
    },
  });
  /** What is done to a node that it fits, by the kind of difference that must be found. */
  const mutations: Record<string, [(node: TreeNode, tree: Tree) => boolean, (node: TreeNode) => TreeNode | undefined]> = {
    mode: [() => true, (node) => ({ ...node, mode: node.mode ^ 1 })],
    uid: [() => true, (node) => ({ ...node, uid: node.uid === 7 ? 8 : 7 })],
    mtime: [() => true, (node) => ({ ...node, mtime: node.mtime + 1n })],
    xattr: [() => true, (node) => ({ ...node, xattrs: new Map([...node.xattrs, ["user.mutation", Uint8Array.of(1)]]) })],
    target: [(node) => node.type === "symlink", (node) => ({ ...node, target: node.type === "symlink" && node.target === "x" ? "y" : "x" }) as TreeNode],
    content: [(node) => size(node) > 0, (node) => (node.type === "file" ? { ...node, content: changed(node.content, size(node) - 1) } : node)],
    "only-in-a": [(node) => node.type === "fifo" || node.type === "symlink" || node.type === "file", () => undefined],
  };
  test.each(Object.entries(mutations))("%s", async (kind, [fits, mutate]) => {
    await fc.assert(
      fc.asyncProperty(arbitraryTree(), fc.nat(1000), async (tree, choice) => {
        const linked = new Set([...tree].flatMap((node) => (node.type === "hardlink" ? [node.target] : [])));
        const candidates = [...tree].filter((node) => node.type !== "hardlink" && node.path !== "" && !linked.has(node.path) && fits(node, tree));
        fc.pre(candidates.length > 0);
        const victim = candidates[choice % candidates.length] as TreeNode;
        const nodes = [...tree].flatMap((node) => (node === victim ? (mutate(node) ?? []) : [node]));
        const { differences } = await explainTrees(tree, Tree.from(nodes));
        expect(differences.map(({ difference }) => [difference.path, difference.kind])).toEqual([[victim.path, kind]]);
        expect(differences[0]?.causes.length).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });
});

test("groups stand in the table's order with all that they were found in", async () => {
  const a = [file("a"), file("b"), file("c", { mode: 0o600 })];
  const b = [file("a", { mtime: 5n }), file("b", { mtime: 6n }), file("c")];
  const { differences } = await explainTrees(Tree.from(a), Tree.from(b));
  expect(groupCauses(differences).map(({ code, found }) => [code, found.map(({ path }) => path)])).toEqual([
    ["time-fraction", ["a", "b"]],
    ["umask", ["c"]],
  ]);
});

describe("tars: the same tree, other bytes", () => {
  const folder = fs.mkdtempSync(join(os.tmpdir(), "imgkit-explain-tar-"));
  afterAll(() => fs.rmSync(folder, { recursive: true }));
  const source = join(folder, "source");
  fs.mkdirSync(join(source, "d"), { recursive: true });
  fs.writeFileSync(join(source, "d", "file"), "content");
  fs.writeFileSync(join(source, "other"), "content");
  fs.linkSync(join(source, "other"), join(source, "d", "z-link"));
  execFileSync("find", [source, "-exec", "touch", "-h", "-d", "@1700000000", "{}", "+"]);
  let made = 0;

  function tar(...args: string[]): string {
    const path = join(folder, `${++made}.tar`);
    const [command = "tar", ...before] = gnuTar135() ?? ["tar"];
    execFileSync(command, [...before, "-C", source, "-cf", path, ...args], { env: { ...process.env, LC_ALL: "C" } });
    return path;
  }

  async function explained(left: string, right: string): Promise<string[]> {
    const [a, b] = [openFile(left), openFile(right)];
    try {
      expect((await explainTrees((await readTar(a)).tree, (await readTar(b)).tree)).differences).toEqual([]);
      return (await explainTarBytes(a, b, true)).map(({ code, detail }) => `${code}: ${detail}`);
    } finally {
      a.close();
      b.close();
    }
  }

  const withTimes = ["--sort=name", "--format=posix", "--numeric-owner", "--owner=0", "--group=0"];
  const plain = [...withTimes, "--pax-option=delete=atime,delete=ctime"];
  const table: [string, string[], string[], RegExp[]][] = [
    ["nothing", [...plain, "."], [...plain, "."], []],
    [
      "order",
      [...plain, "."],
      [...plain, "--no-recursion", ".", "./other", "./d", "./d/z-link", "./d/file"],
      [/^tar-order: sorted and not sorted; the first that differ are \/d and \/other$/, /^tar-links: /],
    ],
    ["the dialect", [...plain, "."], [...withTimes, "--format=gnu", "."], [/^tar-dialect: POSIX and GNU$/]],
    ["v7", [...plain, "."], [...withTimes, "--format=v7", "."], [/^tar-dialect: POSIX and v7$/]],
    ["names of owners", [...plain, "."], [...plain.filter((arg) => arg !== "--numeric-owner"), "."], [/^tar-owner-names: none and names$/]],
    ["the end", [...plain, "."], [...plain, "--blocking-factor=40", "."], [/^tar-padding: \d+ bytes and \d+ bytes$/]],
    ["./", [...plain, "."], [...plain, "--transform=s,^\\./,,", "."], [/^tar-names: /]],
    ["extra times", [...plain, "."], [...withTimes, "."], [/^tar-records: .*atime/, /^tar-header-names: none and %d\/PaxHeaders/, /^tar-header-times: /]],
    [
      "the values of extra times",
      [...withTimes, "--pax-option=atime:=1", "."],
      [...withTimes, "--pax-option=atime:=2", "."],
      [/^tar-records: other values of atime$/],
    ],
    ["a global header", [...plain, "."], [...plain, "--pax-option=comment=x", "."], [/^tar-global: none and comment$/]],
  ];
  oracle("tar").each(table)("%s", async (_, left, right, expected) => {
    const lines = await explained(tar(...left), tar(...right));
    for (const [i, pattern] of expected.entries())
      expect(
        lines.some((line) => pattern.test(line)),
        `${pattern} (${i}) in ${lines.join("\n")}`,
      ).toBe(true);
    if (expected.length === 0) expect(lines).toEqual([]);
  });

  oracle("bsdtar", "python3")("of other builders: every one is explained, none unknown", async () => {
    const others = ["a.tar", "b.tar"].map((name) => join(folder, name)) as [string, string];
    execFileSync("bsdtar", ["--uid", "0", "--gid", "0", "-C", source, "-cf", others[0], "."]);
    execFileSync("python3", [
      "-c",
      "import sys,tarfile\nwith tarfile.open(sys.argv[2],'w') as t: t.add(sys.argv[1],'.',filter=lambda i:(setattr(i,'uid',0),setattr(i,'gid',0),i)[2])",
      source,
      others[1],
    ]);
    for (const other of others) {
      const lines = await explained(tar(...plain, "."), other);
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.join("\n")).not.toMatch(/tar-unknown/);
    }
  });

  oracleRoot("tar")("an ignored byte of a header is unknown, with its offset", async () => {
    const path = tar(...plain, ".");
    const bytes = fs.readFileSync(path);
    const other = Uint8Array.from(bytes);
    // The last of the twelve bytes that POSIX leaves unused, and the checksum with it.
    other[511] = 1;
    const sum = Number.parseInt(String.fromCharCode(...other.subarray(148, 154)), 8) + 1;
    other.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0")), 148);
    fs.writeFileSync(join(folder, "odd.tar"), other);
    expect(await explained(path, join(folder, "odd.tar"))).toEqual([expect.stringMatching(/^tar-unknown: from byte 15[0-9] on$/)]);
  });

  test("a tar/1 and itself: nothing; of another epoch: the times of the extended headers", async () => {
    const tree = Tree.from([file("a", { mtime: 5n })]);
    const [a, b] = await Promise.all([1, 2].map(async (epoch) => memorySource(await collect(writeTar(tree, { epoch })))));
    expect(await explainTarBytes(a as ByteSource, a as ByteSource, true)).toEqual([]);
    expect(await explainTarBytes(a as ByteSource, b as ByteSource, true)).toEqual([{ code: "tar-header-times", detail: "1 and 2" }]);
  });
});
