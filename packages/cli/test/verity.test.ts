import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

// `imgkit verity` beside veritysetup: the same command line after the name must print the same lines and write the same bytes.

const scratch = new Scratch("verity");
const BLOCK = 4096;
const data = scratch.at("data");
const uuid = "01234567-89ab-cdef-0123-456789abcdef";
const salt = "a1".repeat(32);
afterAll(() => scratch.remove());
beforeAll(() => {
  fs.writeFileSync(data, pseudoRandomBytes(7, 300 * BLOCK));
});

interface Printed {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

function theirs(...args: string[]): Printed {
  const { stdout, stderr, status } = spawnSync("veritysetup", args, { encoding: "utf8", env: { PATH: process.env.PATH, LC_ALL: "C" } });
  return { stdout, stderr, code: status };
}

async function ours(...args: string[]): Promise<Printed> {
  const { stdout, stderr, code } = await here(["verity", ...args]);
  return { stdout: stdout.toString(), stderr, code: code ?? null };
}

const rootOf = (report: string): string => /^Root hash:\s+([0-9a-f]+)$/m.exec(report)?.[1] ?? "";

/** Formats with both; both must print the same, and write the same. Returns the root hash; the tree is in `hash`. */
async function formatBoth(hash: string, ...flags: string[]): Promise<string> {
  const before = fs.existsSync(hash) ? fs.readFileSync(hash) : undefined;
  const expected = theirs("format", data, hash, ...flags);
  expect(expected.code, expected.stderr).toBe(0);
  const bytes = fs.readFileSync(hash);
  fs.rmSync(hash);
  if (before !== undefined) fs.writeFileSync(hash, before);
  expect(await ours("format", data, hash, ...flags)).toEqual(expected);
  expect(fs.readFileSync(hash).equals(bytes)).toBe(true);
  return rootOf(expected.stdout);
}

const parameters: readonly [what: string, flags: string[]][] = [
  ["the defaults", ["--uuid", uuid, "--salt", salt]],
  ["short flags, verbose", ["--uuid", uuid, "-s", salt, "-h", "sha256", "-v"]],
  ["values after an equals sign", [`--uuid=${uuid}`, `--salt=${salt}`, "--hash=sha256", "--format=1"]],
  ["no salt", ["--uuid", uuid, "--salt", "-"]],
  ["a salt of one byte", ["--uuid", uuid, "--salt", "ff"]],
  ["a salt of 256 bytes", ["--uuid", uuid, "--salt", "5a".repeat(256)]],
  ["sha512", ["--uuid", uuid, "--salt", salt, "--hash", "sha512"]],
  ["sha1", ["--uuid", uuid, "--salt", salt, "-h", "sha1"]],
  ["an algorithm in capitals", ["--uuid", uuid, "--salt", salt, "-h", "SHA256"]],
  ["Chrome OS's format", ["--uuid", uuid, "--salt", salt, "--format", "0"]],
  ["small blocks", ["--uuid", uuid, "--salt", salt, "--data-block-size", "512", "--hash-block-size", "1024"]],
  ["data blocks that are larger than a page, with the warning", ["--uuid", uuid, "--salt", salt, "--data-block-size", "8192"]],
  ["a part of the data", ["--uuid", uuid, "--salt", salt, "--data-blocks", "100"]],
  ["a UUID in capitals", ["--uuid", uuid.toUpperCase(), "--salt", salt]],
];

describe("format and dump print veritysetup's lines, and write its bytes", () => {
  oracle("veritysetup").each(parameters)("%s", async (_, flags) => {
    const hash = scratch.at("tree");
    fs.rmSync(hash, { force: true });
    const root = await formatBoth(hash, ...flags);
    expect(root).toMatch(/^[0-9a-f]{40,128}$/);
    expect(await ours("dump", hash)).toEqual(theirs("dump", hash));

    // Each verifies what both made; neither accepts another root hash.
    expect(await ours("verify", data, hash, root)).toEqual(theirs("verify", data, hash, root));
    expect((await ours("verify", data, hash, root)).code).toBe(0);
    const other = `${root.slice(0, -1)}${root.endsWith("0") ? "1" : "0"}`;
    expect(theirs("verify", data, hash, other).code).toBe(1);
    expect((await ours("verify", data, hash, other)).code).toBe(1);

    const withoutUuid = flags.filter((flag, i) => !flag.startsWith("--uuid") && flags[i - 1] !== "--uuid");
    expect((await ours("root", data, ...withoutUuid)).stdout).toBe(`${root}\n`);
  });

  oracle("veritysetup")("a superblock at an offset in a file of its own, and in the data's own file", async () => {
    const flags = ["--uuid", uuid, "--salt", salt, "--hash-offset"];
    const hash = scratch.write("shifted", Buffer.alloc(20 * BLOCK, 0x55));
    const root = await formatBoth(hash, ...flags, String(4 * BLOCK));
    expect(fs.readFileSync(hash).subarray(0, 4 * BLOCK)).toEqual(Buffer.alloc(4 * BLOCK, 0x55));
    expect(await ours("dump", hash, "--hash-offset", String(4 * BLOCK))).toEqual(theirs("dump", hash, "--hash-offset", String(4 * BLOCK)));
    expect((await ours("verify", data, hash, root, "--hash-offset", String(4 * BLOCK))).code).toBe(0);
    expect((await ours("verify", data, hash, root)).code).not.toBe(0);

    const [one, two] = [scratch.at("both-1"), scratch.at("both-2")];
    for (const path of [one, two]) fs.copyFileSync(data, path);
    const same = [...flags, String(300 * BLOCK), "--data-blocks", "300"];
    const expected = theirs("format", one, one, ...same);
    const got = await ours("format", two, two, ...same);
    expect(got).toEqual({ ...expected, stdout: expected.stdout.replace(one, two) });
    expect(fs.readFileSync(two).equals(fs.readFileSync(one))).toBe(true);
    expect(theirs("verify", two, two, rootOf(got.stdout), "--hash-offset", String(300 * BLOCK)).code).toBe(0);
    expect((await ours("verify", one, one, rootOf(got.stdout), "--hash-offset", String(300 * BLOCK))).code).toBe(0);
  });

  oracle("veritysetup")("--no-superblock, when all is told again", async () => {
    const flags = ["--no-superblock", "--salt", salt, "--hash", "sha512"];
    const hash = scratch.at("bare");
    const root = await formatBoth(hash, ...flags);
    expect((await ours("verify", data, hash, root, ...flags)).code).toBe(0);
    expect(theirs("verify", data, hash, root, ...flags).code).toBe(0);
    expect((await ours("verify", data, hash, root, "--no-superblock", "--salt", "-", "--hash", "sha512")).code).toBe(1);
  });

  oracle("veritysetup")("--root-hash-file is written by format and read by verify, by either of either", async () => {
    const hash = scratch.at("tree-of-file");
    const [one, two] = [scratch.at("root-1"), scratch.at("root-2")];
    const flags = ["--uuid", uuid, "--salt", salt, "--root-hash-file"];
    expect(theirs("format", data, hash, ...flags, one).code).toBe(0);
    expect((await ours("format", data, hash, ...flags, two)).code).toBe(0);
    expect(fs.readFileSync(two)).toEqual(fs.readFileSync(one));
    expect((await ours("verify", data, hash, "--root-hash-file", one)).code).toBe(0);
    expect(theirs("verify", data, hash, "--root-hash-file", two).code).toBe(0);
    // As an editor or echo leaves it.
    fs.appendFileSync(two, "\n");
    expect((await ours("verify", data, hash, "--root-hash-file", two)).code).toBe(0);
    expectFailure(await here(["verity", "verify", data, hash, "--root-hash-file", scratch.at("none")]), 2, /none: no such file/);
    expectFailure(await here(["verity", "verify", data, hash, "--root-hash-file", scratch.write("blank", "\n")]), 2, /root hash/);
  });
});

describe("verify", () => {
  const hash = scratch.at("good");
  let root: string;
  beforeAll(async () => {
    root = rootOf((await ours("format", data, hash, "--uuid", uuid, "--salt", salt)).stdout);
  });

  /** A copy of a file with one byte changed. */
  function flipped(path: string, at: number): string {
    const bytes = fs.readFileSync(path);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return scratch.write("flipped", bytes);
  }

  test("silent when all is well; with -v it says so", async () => {
    expect(await ours("verify", data, hash, root)).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await ours("verify", data, hash, root.toUpperCase())).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await ours("verify", "-v", data, hash, root)).toEqual({ code: 0, stdout: "Command successful.\n", stderr: "" });
  });

  oracle("veritysetup").each([0, 5000, 131 * BLOCK, 300 * BLOCK - 1])("a changed byte %i of the data: veritysetup's lines, then where it is", async (at) => {
    const bad = flipped(data, at);
    const expected = theirs("verify", bad, hash, root);
    const got = await ours("verify", bad, hash, root);
    // The lines are veritysetup's, the exit code (1, not 2) is imgkit's.
    expect({ ...got, stderr: got.stderr.replace(/^imgkit: .*\n/gm, "") }).toEqual({ ...expected, code: 1 });
    expect(expected.code).toBe(2);
    const block = Math.floor(at / BLOCK);
    expect(got.stderr).toMatch(new RegExp(`^imgkit: .*(block ${block}|byte ${block * BLOCK})\\b.*$`, "m"));
    const { findings } = json(await here(["verity", "verify", bad, hash, root, "--json"]), 1);
    expect(findings).toEqual([expect.objectContaining({ kind: "data", block, offset: block * BLOCK, length: BLOCK })]);
  });

  oracle("veritysetup").each([BLOCK, 2 * BLOCK, 2 * BLOCK + 31, 3 * BLOCK - 1])("a changed byte %i of the tree: both say no, and imgkit where", async (at) => {
    const bad = flipped(hash, at);
    expect(theirs("verify", data, bad, root).code).not.toBe(0);
    const document = json(await here(["verity", "verify", data, bad, root, "--json"]), 1);
    expect(document).toMatchObject({ command: "verity verify", ok: false, rootHash: root });
    expect(document.findings.length).toBeGreaterThan(0);
    for (const { message } of document.findings) expect(message).toMatch(/byte|block/);
  });

  test("a root hash of another tree", async () => {
    const other = "00".repeat(32);
    const { code, stdout, stderr } = await ours("verify", data, hash, other);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("Verification of root hash failed.\n");
    expect(stderr).toContain(root);
    expect(stderr).toContain(other);
  });

  test.each<[what: string, length: number]>([
    ["a hash file without a superblock", 100],
    ["a hash file cut in its tree", 2 * BLOCK],
  ])("%s", async (_, length) => {
    const cut = scratch.write("cut", fs.readFileSync(hash).subarray(0, length));
    const result = await here(["verity", "verify", data, cut, root]);
    expect([1, 2]).toContain(result.code);
    expect(result.stderr).toMatch(/superblock|tree|short|end/);
  });

  test("data cut short is found, and a missing file is bad input", async () => {
    const cut = scratch.write("cut-data", fs.readFileSync(data).subarray(0, 200 * BLOCK));
    expect((await ours("verify", cut, hash, root)).code).toBe(1);
    expectFailure(await here(["verity", "verify", scratch.at("none"), hash, root]), 2, /none: no such file/);
    expectFailure(await here(["verity", "dump", data]), 2, /superblock|signature|verity/);
  });
});

describe("without veritysetup's randomness", () => {
  test("format twice gives the same bytes; a seed changes salt and UUID", async () => {
    const [one, two] = [scratch.at("one"), scratch.at("two")];
    const first = await ours("format", data, one);
    expect(await ours("format", data, one)).toEqual(first);
    await ours("format", data, two);
    expect(fs.readFileSync(two).equals(fs.readFileSync(one))).toBe(true);
    expect((await ours("root", data)).stdout).toBe(`${rootOf(first.stdout)}\n`);
    const seeded = await ours("format", data, two, "--seed", uuid);
    const field = (report: string, name: string): string | undefined => new RegExp(`^${name}:\\s+(\\S+)$`, "m").exec(report)?.[1];
    for (const name of ["UUID", "Salt", "Root hash"]) expect(field(seeded.stdout, name)).not.toBe(field(first.stdout, name));
  });

  test("--record names data, tree and digests, and is the same for the same run, also where both share a file", async () => {
    const record = scratch.at("record");
    for (const [name, args] of [
      ["apart", (path: string) => [path, scratch.at("apart.tree")]],
      ["together", (path: string) => [path, path, "--hash-offset", String(300 * BLOCK), "--data-blocks", "300"]],
    ] as const) {
      const path = scratch.at(name);
      const texts: string[] = [];
      for (let i = 0; i < 2; i++) {
        fs.copyFileSync(data, path);
        expect((await ours("format", ...args(path), "--record", record)).code).toBe(0);
        texts.push(fs.readFileSync(record, "utf8"));
      }
      expect(texts[1]).toBe(texts[0]);
      const { inputs, outputs, command } = JSON.parse(texts[0] ?? "");
      const before = (await here(["verify", data, "--digest", inputs[0].digest])).code;
      const after = (await here(["verify", outputs[0].name, "--digest", outputs[0].digest])).code;
      expect({ command, before, after }).toEqual({ command: "verity format", before: 0, after: 0 });
    }
  });

  test("--json of each action is one document with the same values", async () => {
    const hash = scratch.at("json.tree");
    const made = json(await here(["verity", "format", data, hash, "--uuid", uuid, "--salt", salt, "--json"]));
    expect(made).toMatchObject({ command: "verity format", uuid, salt, hash: "sha256", dataBlocks: 300, hashBlockSize: BLOCK });
    const dumped = json(await here(["verity", "dump", hash, "--json"]));
    expect(dumped).toMatchObject({ command: "verity dump", uuid, salt, hash: "sha256", dataBlocks: 300 });
    expect(json(await here(["verity", "root", data, "--salt", salt, "--json"]))).toMatchObject({ rootHash: made.rootHash });
    expect(json(await here(["verity", "verify", data, hash, made.rootHash, "--json"]))).toMatchObject({ ok: true, findings: [] });
  });
});

oracle("veritysetup")("on a CPU without SHA instructions, where another engine is chosen, the same bytes", async () => {
  const [large, hash, expected] = [scratch.at("large"), scratch.at("large.hash"), scratch.at("large.expected")];
  fs.writeFileSync(large, pseudoRandomBytes(8, 6000 * BLOCK));
  const flags = ["--uuid", uuid, "--salt", salt];
  theirs("format", large, expected, ...flags);
  const { code, stderr } = await imgkit(["verity", "format", large, hash, ...flags], { env: { OPENSSL_ia32cap: ":~0x20000000" } });
  expect(code, stderr).toBe(0);
  expect(fs.readFileSync(hash).equals(fs.readFileSync(expected))).toBe(true);
});
