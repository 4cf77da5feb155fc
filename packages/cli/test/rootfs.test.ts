import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { gzipSync } from "node:zlib";
import { memorySource } from "@imgkit/bytes";
import { compareTrees, type Difference, formatDifference, readTar, Tree, type TreeNode, writeTar } from "@imgkit/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { materialise, writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { fixtureTree } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { epoch, here, imgkit, json, Scratch } from "./cli.ts";

const scratch = new Scratch("rootfs");
const EPOCH = 1_700_000_000n * 1_000_000_000n;
const out = scratch.at("out.tar");
afterAll(() => scratch.remove());
beforeAll(async () => {
  await writeFixtureTar(scratch.at("fixture.tar"));
});

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Runs `imgkit rootfs SOURCE -o out.tar --json` in this process; returns its document. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what the command printed, whatever that is
async function rootfs(source: string, args: readonly string[] = [], input?: Uint8Array): Promise<any> {
  return json(await here(["rootfs", source, "-o", out, ...epoch, "--json", ...args], input === undefined ? {} : { input }));
}

async function treeOf(bytes: Uint8Array): Promise<Tree> {
  return (await readTar(memorySource(bytes))).tree;
}

const treeOfOut = (): Promise<Tree> => treeOf(fs.readFileSync(out));

async function differences(a: Tree, b: Tree, ignore: readonly Difference["kind"][] = []): Promise<string[]> {
  const lines: string[] = [];
  for await (const difference of compareTrees(a, b, { ignore })) lines.push(formatDifference(difference));
  return lines;
}

const clamped = (tree: Tree): Tree => tree.map((node) => ({ ...node, mtime: node.mtime > EPOCH ? EPOCH : node.mtime }));

describe("one tree, one digest", () => {
  let expected: string;
  beforeAll(async () => {
    expected = (await rootfs(scratch.at("fixture.tar"))).output.digest;
  });

  test("the tar holds the fixture, times after the epoch brought to it", async () => {
    await rootfs(scratch.at("fixture.tar"));
    expect(await differences(await treeOfOut(), clamped(fixtureTree()))).toEqual([]);
  });

  test("--json names the output's own digest, size and format", async () => {
    const { output, entries, epoch: used, command } = await rootfs(scratch.at("fixture.tar"));
    const bytes = fs.readFileSync(out);
    expect({ command, used, entries }).toEqual({ command: "rootfs", used: 1_700_000_000, entries: fixtureTree().size });
    expect(output).toEqual({ path: out, format: "tar/1", digest: sha256(bytes), size: bytes.length });
  });

  const packers: readonly [name: string, pack: (path: string) => Buffer, tool: string][] = [
    ["gzip", (path) => gzipSync(fs.readFileSync(path)), "sh"],
    ["zstd", (path) => execFileSync("zstd", ["-cq", path], { maxBuffer: 2 ** 28 }), "zstd"],
    ["xz", (path) => execFileSync("xz", ["-1c", path], { maxBuffer: 2 ** 28 }), "xz"],
  ];
  for (const [name, pack, tool] of packers) {
    oracle(tool)(`from ${name}, by its path and from standard input`, async () => {
      // By what it is, not by what it is called.
      const path = scratch.write("packed", pack(scratch.at("fixture.tar")));
      expect((await rootfs(path)).output.digest).toBe(expected);
      expect((await rootfs("-", [], fs.readFileSync(path))).output.digest).toBe(expected);
    });
  }

  test("from standard input, to standard output, by the real command", async () => {
    const result = await imgkit(["rootfs", "-", "-o", "-", ...epoch], { input: fs.createReadStream(scratch.at("fixture.tar")) });
    expect(sha256(result.stdout)).toBe(expected);
    expect(result.stderr).toBe(`imgkit: ${expected}  -  (${result.stdout.length} bytes, ${fixtureTree().size} entries)\n`);
    expect(result.code).toBe(0);
  });

  test("from its own output: nothing is left to do", async () => {
    for (const args of [[], ["--profile", "debian"], ["--owner", "5:6", "--times", "set"]]) {
      const first = await rootfs(scratch.at("fixture.tar"), args);
      fs.renameSync(out, scratch.at("again.tar"));
      const second = await rootfs(scratch.at("again.tar"), args);
      expect(second.output.digest).toBe(first.output.digest);
      expect(second).toMatchObject({ scrubbed: [], droppedXattrs: [], changed: { times: 0, owners: 0 } });
    }
  });

  oracleRoot("setfattr")("from a folder, whatever umask, locale and time zone", async () => {
    const folder = scratch.at("folder");
    await materialise(fixtureTree(), folder);
    expect((await rootfs(folder)).output.digest).toBe(expected);
    const env = { TZ: "Asia/Kathmandu", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" };
    const result = await imgkit(["rootfs", folder, "-o", "-", ...epoch], { env, prefix: ["sh", "-c", 'umask 077; exec "$@"', "sh"] });
    expect(sha256(result.stdout)).toBe(expected);
    // The folder by another name, and from within.
    fs.symlinkSync(folder, scratch.at("name"));
    expect((await rootfs(scratch.at("name"))).output.digest).toBe(expected);
    expect(sha256((await imgkit(["rootfs", ".", "-o", "-", ...epoch], { cwd: folder })).stdout)).toBe(expected);
  });
});

/** A tree of one file, and what else a test needs. */
function treeWith(...nodes: Partial<TreeNode>[]): Tree {
  const meta = { mode: 0o755, uid: 1000, gid: 1000, mtime: 0n, xattrs: new Map() };
  const whole = nodes.map((node) => ({ ...meta, type: "file", content: memorySource(new Uint8Array([1])), ...node }) as TreeNode);
  return Tree.from([{ ...meta, path: "", type: "directory" }, ...whole]);
}

async function writeTree(tree: Tree): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeTar(tree, { epoch: 0 })) chunks.push(chunk);
  return scratch.write("source.tar", Buffer.concat(chunks));
}

describe("owners, times and attributes", () => {
  const early = 1_000_000_000n * 1_000_000_000n + 123_456_789n;
  const late = EPOCH + 1n;
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const attributes = new Map([
    ["security.selinux", text("label")],
    ["trusted.overlay.opaque", text("y")],
    ["user.comment", text("kept")],
    ["user.secret", text("kept too")],
  ]);
  const source = (): Promise<string> =>
    writeTree(treeWith({ path: "early", mtime: early }, { path: "late", mtime: late, uid: 3_000_000 }, { path: "marked", xattrs: attributes }));
  const nodeOf = async (path: string): Promise<TreeNode> => (await treeOfOut()).get(path) as TreeNode;

  test("times after the epoch become the epoch, those before stay to the nanosecond", async () => {
    expect((await rootfs(await source())).changed.times).toBe(1);
    expect((await nodeOf("early")).mtime).toBe(early);
    expect((await nodeOf("late")).mtime).toBe(EPOCH);
  });

  test("--times set: all become the epoch", async () => {
    expect((await rootfs(await source(), ["--times", "set"])).changed.times).toBe(4);
    for (const node of await treeOfOut()) expect(node.mtime).toBe(EPOCH);
  });

  test("owners stay, and with --owner all become that one", async () => {
    expect((await rootfs(await source())).changed.owners).toBe(0);
    expect(await nodeOf("late")).toMatchObject({ uid: 3_000_000, gid: 1000 });
    expect((await rootfs(await source(), ["--owner", "7:8"])).changed.owners).toBe(4);
    for (const node of await treeOfOut()) expect(node).toMatchObject({ uid: 7, gid: 8 });
  });

  test.each<[args: string[], kept: string[]]>([
    [[], ["user.comment", "user.secret"]],
    [["--xattr-exclude", "user.secret"], ["user.comment"]],
    [["--xattr-exclude", "user.*"], []],
    [
      ["--xattr-include", "security.selinux"],
      ["security.selinux", "user.comment", "user.secret"],
    ],
    [
      ["--xattr-include", "*"],
      ["security.selinux", "trusted.overlay.opaque", "user.comment", "user.secret"],
    ],
    [
      ["--xattr-include", "trusted.*", "--xattr-include", "security.selinux", "--xattr-exclude", "*.s*"],
      ["trusted.overlay.opaque", "user.comment"],
    ],
    [["--no-xattrs"], []],
  ])("%j keeps %j, and each dropped one is named", async (args, kept) => {
    const { droppedXattrs } = await rootfs(await source(), args);
    expect([...(await nodeOf("marked")).xattrs.keys()].sort()).toEqual(kept);
    const dropped = [...attributes.keys()].filter((name) => !kept.includes(name));
    expect(droppedXattrs.map(({ path, detail }: { path: string; detail: string }) => [path, detail.split(" ")[0]])).toEqual(
      dropped.map((name) => ["marked", name]),
    );
  });
});

describe("profile debian", () => {
  // What must not survive: the lists of debuerreotype and mmdebstrap, as in docs.
  const removed = [
    "dev/null",
    "etc/apt/apt.conf.d/00mmdebstrap",
    "etc/apt/apt.conf.d/01autoremove-kernels",
    "etc/apt/trustdb.gpg",
    "proc/1",
    "run/mount",
    "run/mount/utab",
    "sys/kernel",
    "tmp/x",
    "var/cache/apt/archives",
    "var/cache/apt/pkgcache.bin",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/lock",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/catalog/database",
    "var/log/alternatives.log",
    "var/log/apt/eipp.log.xz",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/state/apt/lists/x",
  ];
  const emptied = ["etc/machine-id"];
  const kept = ["etc/hostname", "run/lock", "run/lock/x", "tmpfile", "usr/share/doc/x", "var/cache/aptitude", "var/lib/apt/extended_states", "var/log/wtmp"];

  const source = (): Promise<string> => {
    const paths = [...removed, ...emptied, ...kept];
    const folders = new Set(paths.flatMap((path) => path.split("/").map((_, i, parts) => parts.slice(0, i).join("/"))).filter((path) => path !== ""));
    const files = paths.filter((path) => !folders.has(path));
    return writeTree(treeWith(...[...folders].map((path) => ({ path, type: "directory" as const })), ...files.map((path) => ({ path }))));
  };

  test("takes out exactly its list, and --json names each path, what was done and why", async () => {
    const path = await source();
    const before = await treeOf(fs.readFileSync(path));
    const { scrubbed, profile } = await rootfs(path, ["--profile", "debian"]);
    expect(profile).toBe("debian");
    const named = scrubbed.map(({ path: at, action }: { path: string; action: string }) => `${action} ${at}`);
    expect(named.sort()).toEqual([...emptied.map((at) => `emptied ${at}`), ...removed.map((at) => `removed ${at}`)].sort());
    for (const { reason } of scrubbed) expect(reason).toMatch(/^.{10,}$/);
    // What the document names is all that differs.
    const left = await differences(before, await treeOfOut());
    expect(left.sort()).toEqual(
      [
        "/etc/machine-id: content differs from byte 0 (1 and 0 bytes)",
        ...removed.map((at) => `/${at}: ${at === "run/mount" ? "directory" : "file"} only in the first`),
      ].sort(),
    );
  });

  test("is not used unless asked for", async () => {
    const { scrubbed, profile } = await rootfs(await source());
    expect({ scrubbed, profile }).toEqual({ scrubbed: [], profile: "none" });
    expect((await treeOfOut()).has("var/log/dpkg.log")).toBe(true);
  });

  test("the line for people counts what was scrubbed", async () => {
    const result = await here(["rootfs", await source(), "-o", out, ...epoch, "--profile", "debian"]);
    expect(result.stdout.toString()).toMatch(new RegExp(`entries, ${removed.length + emptied.length} paths taken out \\(profile debian\\)\\)\n$`));
  });
});

describe("--record", () => {
  const record = scratch.at("record.json");
  const run = async (source: string, args: readonly string[] = []): Promise<string> => {
    await rootfs(source, ["--record", record, ...args]);
    return fs.readFileSync(record, "utf8");
  };

  test("holds the arguments, the version, the epoch and the digest of input and output", async () => {
    const source = scratch.at("fixture.tar");
    const document = JSON.parse(await run(source, ["--times", "set"]));
    const { version } = JSON.parse(fs.readFileSync(new URL("../package.json", import.meta.url), "utf8"));
    const [input, output] = [fs.readFileSync(source), fs.readFileSync(out)];
    expect(document).toEqual({
      schema: "imgkit.record/1",
      imgkit: version,
      command: "rootfs",
      arguments: ["rootfs", source, "-o", out, ...epoch, "--json", "--record", record, "--times", "set"],
      epoch: 1_700_000_000,
      inputs: [{ name: source, kind: "file", digest: sha256(input), size: input.length }],
      outputs: [{ name: out, kind: "file", digest: sha256(output), size: output.length }],
    });
  });

  test("its arguments, run again, give the same record and the same output", async () => {
    const first = await run(scratch.at("fixture.tar"));
    const { arguments: args, outputs } = JSON.parse(first);
    fs.rmSync(out);
    fs.rmSync(record);
    expect((await imgkit(args)).code).toBe(0);
    expect(fs.readFileSync(record, "utf8")).toBe(first);
    expect(sha256(fs.readFileSync(out))).toBe(outputs[0].digest);
  });

  test("an epoch from the environment stands in it", async () => {
    const env = { SOURCE_DATE_EPOCH: "1234567890" };
    expect((await here(["rootfs", scratch.at("fixture.tar"), "-o", out, "--record", record], { env })).code).toBe(0);
    expect(JSON.parse(fs.readFileSync(record, "utf8"))).toMatchObject({ epoch: 1_234_567_890 });
  });

  test("of a packed tar the digest is that of the file as it is, from standard input that of what was read", async () => {
    const packed = gzipSync(fs.readFileSync(scratch.at("fixture.tar")));
    const fromFile = JSON.parse(await run(scratch.write("packed.tar.gz", packed)));
    expect(fromFile.inputs).toEqual([{ name: scratch.at("packed.tar.gz"), kind: "file", digest: sha256(packed), size: packed.length }]);
    await rootfs("-", ["--record", record], packed);
    expect(JSON.parse(fs.readFileSync(record, "utf8")).inputs).toEqual([{ name: "-", kind: "stream", digest: sha256(packed), size: packed.length }]);
  });

  test("of a folder the digest is that of its tree: one changed byte, another digest", async () => {
    const folder = scratch.folder("recorded");
    const digestWith = async (content: string): Promise<string> => {
      scratch.write("recorded/file", content);
      fs.utimesSync(scratch.at("recorded", "file"), 1, 1);
      fs.utimesSync(folder, 1, 1);
      const [input] = JSON.parse(await run(folder)).inputs;
      expect(input).toMatchObject({ name: folder, kind: "tree" });
      return input.digest;
    };
    const one = await digestWith("one");
    expect(await digestWith("two")).not.toBe(one);
    expect(await digestWith("one")).toBe(one);
  });
});

describe("what is printed", () => {
  test("one line on standard output, nothing with --quiet", async () => {
    const args = ["rootfs", scratch.at("fixture.tar"), "-o", out, ...epoch];
    const { output } = await rootfs(scratch.at("fixture.tar"));
    expect(await here(args)).toMatchObject({
      code: 0,
      stderr: "",
      stdout: Buffer.from(`${output.digest}  ${out}  (${output.size} bytes, ${fixtureTree().size} entries)\n`),
    });
    expect(await here([...args, "--quiet"])).toMatchObject({ code: 0, stderr: "", stdout: Buffer.alloc(0) });
  });
});
