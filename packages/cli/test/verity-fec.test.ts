import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { memorySource } from "@imgkit/bytes";
import { buildFec, fecLayout, readSuperblock, verityLayout } from "@imgkit/verity";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { expectFailure, here, json, Scratch } from "./cli.ts";

// Forward error correction of `imgkit verity` beside veritysetup's: the same flags, lines and bytes, and repair, which veritysetup has not.

const scratch = new Scratch("verity-fec");
const BLOCK = 4096;
const blocks = 600;
const good = Buffer.from(pseudoRandomBytes(11, blocks * BLOCK));
const data = scratch.at("data");
const [hash, fec] = [scratch.at("tree"), scratch.at("parity")];
const fixed = ["--uuid", "01234567-89ab-cdef-0123-456789abcdef", "--salt", "a1".repeat(32)];
let root: string;
afterAll(() => scratch.remove());
beforeAll(async () => {
  fs.writeFileSync(data, good);
  root = json(await here(["verity", "format", data, hash, ...fixed, "--fec-device", fec, "--fec-roots", "4", "--json"])).rootHash;
});

const theirs = (...args: string[]): { readonly stdout: string; readonly stderr: string; readonly code: number | null } => {
  const { stdout, stderr, status } = spawnSync("veritysetup", args, { encoding: "utf8", env: { PATH: process.env.PATH, LC_ALL: "C" } });
  return { stdout, stderr, code: status };
};
const verity = (...args: string[]) => here(["verity", ...args]);
const parity = ["--fec-device", fec, "--fec-roots", "4"];

/** A copy of a file with whole blocks of it changed. */
function damaged(name: string, from: string, ...changed: number[]): string {
  const bytes = fs.readFileSync(from);
  for (const block of changed) bytes.fill(0x77, block * BLOCK, (block + 1) * BLOCK);
  return scratch.write(name, bytes);
}

describe("format", () => {
  const cases: readonly [what: string, flags: string[]][] = [
    ["veritysetup's two roots", []],
    ["24 roots", ["--fec-roots", "24"]],
    ["an offset", ["--fec-roots", "3", "--fec-offset", "8192"]],
    ["small blocks", ["--fec-roots=7", "--data-block-size=1024", "--hash-block-size=1024"]],
    ["no superblock", ["--fec-roots=5", "--no-superblock"]],
  ];
  oracle("veritysetup").each(cases)("prints veritysetup's lines and writes its bytes: %s", async (_, flags) => {
    const [tree, own, other] = [scratch.at("f-tree"), scratch.at("f-own"), scratch.at("f-other")];
    for (const path of [tree, own, other]) fs.rmSync(path, { force: true });
    const expected = theirs("format", data, tree, ...fixed, ...flags, "--fec-device", other);
    const tree2 = fs.readFileSync(tree);
    fs.rmSync(tree);
    const result = await verity("format", data, tree, ...fixed, ...flags, "--fec-device", own);
    expect({ code: result.code, stdout: result.stdout.toString(), stderr: result.stderr }).toEqual(expected);
    expect(fs.readFileSync(own).equals(fs.readFileSync(other))).toBe(true);
    expect(fs.readFileSync(tree).equals(tree2)).toBe(true);
  });

  oracle("veritysetup")("with the parity in the hash file, and with all in one file", async () => {
    const flags = ["--fec-roots", "6", "--fec-offset"];
    const [one, two] = [scratch.at("in-1"), scratch.at("in-2")];
    // veritysetup fails where the file ends before the offset.
    for (const path of [one, two]) fs.writeFileSync(path, Buffer.alloc(12 * BLOCK));
    const expected = theirs("format", data, one, ...fixed, ...flags, String(12 * BLOCK), "--fec-device", one);
    const result = await verity("format", data, two, ...fixed, ...flags, String(12 * BLOCK), "--fec-device", two);
    expect(result.stdout.toString()).toBe(expected.stdout.replaceAll(one, two));
    expect(fs.readFileSync(two).equals(fs.readFileSync(one))).toBe(true);

    for (const path of [one, two]) fs.copyFileSync(data, path);
    const place = ["--data-blocks", String(blocks), "--hash-offset", String(blocks * BLOCK)];
    const at = String((blocks + 7) * BLOCK);
    expect(theirs("format", one, one, ...fixed, ...place, ...flags, at, "--fec-device", one).stderr).toBe("");
    expect((await verity("format", two, two, ...fixed, ...place, ...flags, at, "--fec-device", two)).code).toBe(0);
    expect(fs.readFileSync(two).equals(fs.readFileSync(one))).toBe(true);
  });

  test("an offset in the tree or in the data, wrong roots and unequal blocks are refused, and nothing is written", async () => {
    const before = fs.readFileSync(hash);
    const flags = (...more: string[]) => ["format", data, hash, ...fixed, ...more];
    // A superblock and six hash blocks: see below.
    expectFailure(
      await verity(...flags("--fec-device", hash, "--fec-offset", String(6 * BLOCK))),
      2,
      /the parity would overwrite the tree .*expected at least 28672/,
    );
    expectFailure(await verity(...flags("--fec-device", data, "--fec-offset", String(10 * BLOCK))), 2, /the parity would overwrite the data/);
    expectFailure(await verity(...flags("--fec-device", scratch.at("new"), "--fec-roots", "25")), 2, /field roots; expected an integer from 2 to 24/);
    expectFailure(await verity(...flags("--fec-device", scratch.at("new"), "--fec-offset", "100")), 2, /FEC offset/);
    expectFailure(await verity(...flags("--fec-device", scratch.at("new"), "--hash-block-size", "1024")), 2, /blocks of one size/);
    expectFailure(await verity(...flags("--fec-roots", "4")), 2, /Give --fec-device FILE/);
    expect(fs.readFileSync(hash).equals(before)).toBe(true);
    expect(fs.readFileSync(data).equals(good)).toBe(true);
    expect(fs.existsSync(scratch.at("new"))).toBe(false);
  });
});

oracle("veritysetup")("veritysetup lets the parity overwrite the tree's last block, which imgkit refuses", () => {
  const tree = scratch.write("overlap", Buffer.alloc(7 * BLOCK));
  expect(theirs("format", data, tree, ...fixed, "--fec-device", tree, "--fec-offset", String(6 * BLOCK)).code).toBe(0);
  expect(theirs("verify", data, tree, root).code).not.toBe(0);
});

describe("verify", () => {
  oracle("veritysetup")("damage that can be repaired has veritysetup's lines, and ends with 1 all the same", async () => {
    const bad = damaged("bad", data, 5, 6);
    const expected = theirs("verify", bad, hash, root, ...parity);
    expect(expected.code).toBe(0);
    const result = await verity("verify", bad, hash, root, ...parity);
    expect(result.code).toBe(1);
    for (const line of expected.stderr.trim().split("\n")) expect(result.stderr.split("\n")).toContain(line);
    expect(json(await verity("verify", bad, hash, root, ...parity, "--json"), 1)).toMatchObject({
      ok: false,
      fec: { ok: false, findings: [{ correctable: true }, { correctable: true }] },
    });
  });

  oracle("veritysetup")("damage past repair has veritysetup's lines", async () => {
    const bad = damaged("bad", data, ...Array.from({ length: 30 }, (_, i) => i));
    const expected = theirs("verify", bad, hash, root, ...parity);
    expect(expected.code).not.toBe(0);
    const result = await verity("verify", bad, hash, root, ...parity);
    expect(result.code).toBe(1);
    for (const line of expected.stderr.trim().split("\n")) expect(result.stderr.split("\n")).toContain(line);
  });

  oracle("veritysetup")("changed data with parity made for them: veritysetup is content, imgkit is not", async () => {
    const bad = damaged("bad", data, 9);
    const tree = fs.readFileSync(hash);
    const layout = verityLayout({ ...(await readSuperblock(memorySource(tree))), hashOffset: 0 });
    const plan = fecLayout(layout, { roots: 4, hashEnd: tree.length });
    const out = Buffer.alloc(plan.size);
    await buildFec(memorySource(fs.readFileSync(bad)), memorySource(tree), plan, (at, bytes) => void out.set(bytes, at));
    const forged = scratch.write("forged", out);
    expect(theirs("verify", bad, hash, root).code).not.toBe(0);
    // cryptsetup 2.6.1: no codeword is wrong, so it says that all is well.
    expect(theirs("verify", bad, hash, root, "--fec-device", forged, "--fec-roots", "4").code).toBe(0);
    expect((await verity("verify", bad, hash, root, "--fec-device", forged, "--fec-roots", "4")).code).toBe(1);
    expect((await verity("repair", bad, hash, root, "--fec-device", forged, "--fec-roots", "4", "-o", scratch.at("out"))).code).toBe(1);
    expect(fs.existsSync(scratch.at("out"))).toBe(false);
  });

  test("parity that does not fit good data is a finding, and parity that ends too early", async () => {
    expect((await verity("verify", data, hash, root, ...parity, "-v")).stdout.toString()).toBe("Command successful.\n");
    const bytes = fs.readFileSync(fec);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    const bad = scratch.write("bad-parity", bytes);
    const result = await verity("verify", data, hash, root, "--fec-device", bad, "--fec-roots", "4", "-v");
    expect(result).toMatchObject({ code: 1, stderr: "imgkit: parity of round 0 at byte 0 does not fit data and tree: 1 wrong byte\n" });
    expect(result.stdout.toString()).toBe("");
    const short = scratch.write("short-parity", fs.readFileSync(fec).subarray(0, -8));
    expect((await verity("verify", data, hash, root, "--fec-device", short, "--fec-roots", "4")).stderr).toMatch(
      /^imgkit: the parity ends 8 bytes too early\n/,
    );
  });
});

describe("repair", () => {
  test("writes the data as they were, and leaves what it read alone", async () => {
    const bad = damaged("bad", data, 100, 101, 102, 103, 104, 105);
    const before = fs.readFileSync(bad);
    const out = scratch.at("repaired");
    const result = await verity("repair", bad, hash, root, ...parity, "-o", out, "--record", scratch.at("record"));
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.toString()).toBe(`${out}: 6 blocks of the data repaired, all verified against the root hash\n`);
    expect(fs.readFileSync(out).equals(good)).toBe(true);
    expect(fs.readFileSync(bad).equals(before)).toBe(true);
    const record = JSON.parse(fs.readFileSync(scratch.at("record"), "utf8"));
    expect(record.inputs.map(({ name }: { name: string }) => name)).toEqual([bad, hash, fec]);
    expect(record.outputs.map(({ name }: { name: string }) => name)).toEqual([out]);
  });

  test("in place when the output is the data", async () => {
    const bad = damaged("bad", data, 1, 2);
    expect((await verity("repair", bad, hash, root, ...parity, "-o", bad, "-q")).stdout.toString()).toBe("");
    expect(fs.readFileSync(bad).equals(good)).toBe(true);
  });

  test("the tree too, to --hash-output; without it the user is told", async () => {
    const tree = damaged("bad-tree", hash, 3);
    const [out, hashOut] = [scratch.at("repaired"), scratch.at("repaired-tree")];
    const without = await verity("repair", data, tree, root, ...parity, "-o", out);
    expect(without).toMatchObject({ code: 0, stderr: `imgkit: warning: 1 block of the tree in ${tree} is damaged too: give --hash-output FILE\n` });
    const document = json(await verity("repair", data, tree, root, ...parity, "-o", out, "--hash-output", hashOut, "--json"));
    expect(document).toMatchObject({ command: "verity repair", ok: true, output: out, hashOutput: hashOut, repaired: { data: 0, tree: 1 }, findings: [] });
    expect(fs.readFileSync(hashOut).equals(fs.readFileSync(hash))).toBe(true);
  });

  test("all in one file", async () => {
    const whole = scratch.at("whole");
    fs.writeFileSync(whole, good);
    const place = ["--hash-offset", String(blocks * BLOCK), "--fec-device", whole, "--fec-offset", String((blocks + 8) * BLOCK), "--fec-roots", "8"];
    const made = json(await verity("format", whole, whole, ...fixed, "--data-blocks", String(blocks), ...place, "--json"));
    expect(made).toMatchObject({ rootHash: root, fec: { device: whole, offset: (blocks + 8) * BLOCK, roots: 8 } });
    const before = fs.readFileSync(whole);
    damaged("whole", whole, 0, 1, 599, 602);
    const out = scratch.at("repaired");
    const flags = ["repair", whole, whole, root, ...place];
    expectFailure(await verity(...flags, "-o", out, "--hash-output", scratch.at("more")), 2, /the tree is in the data's file/);
    expect((await verity(...flags, "-o", out)).stdout.toString()).toMatch(/3 blocks of the data repaired.*\n.*1 block of the tree repaired\n$/);
    expect(fs.readFileSync(out).equals(before)).toBe(true);
  });

  test("past the limit every bad block is named, nothing is written, and the exit code is 1", async () => {
    const bad = damaged("bad", data, ...Array.from({ length: 15 }, (_, i) => 20 + i));
    const out = scratch.at("none");
    const result = await verity("repair", bad, hash, root, ...parity, "-o", out);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^Errors cannot be repaired with FEC device\.\nimgkit: data: blocks? 20/);
    expect(fs.existsSync(out)).toBe(false);
    expect(json(await verity("repair", bad, hash, root, ...parity, "-o", out, "--json"), 1)).toMatchObject({ ok: false, complete: true });
  });

  test("a damaged superblock does not matter when its contents are told", async () => {
    const bytes = fs.readFileSync(hash);
    bytes.fill(0, 0, 512);
    const tree = scratch.write("no-superblock", bytes);
    const bad = damaged("bad", data, 7);
    const out = scratch.at("repaired");
    expectFailure(await verity("repair", bad, tree, root, ...parity, "-o", out), 2, /no verity superblock/);
    const told = ["--no-superblock", "--hash-offset", String(BLOCK), "--salt", "a1".repeat(32)];
    expect((await verity("repair", bad, tree, root, ...parity, "-o", out, ...told)).code).toBe(0);
    expect(fs.readFileSync(out).equals(good)).toBe(true);
  });

  test("misuse is named", async () => {
    expectFailure(await verity("repair", data, hash, root, "-o", scratch.at("x")), 2, /there is no parity to repair with/);
    expectFailure(await verity("repair", data, hash, root, ...parity, "-o", scratch.at("x"), "--hash-output", scratch.at("x")), 2, /same file/);
    expectFailure(await verity("repair", data, hash, root, ...parity, "-o", hash), 2, /would replace another file that is needed/);
    expectFailure(await verity("repair", data, hash, root, ...parity, "-o", fec), 2, /would replace another file that is needed/);
    expectFailure(await verity("repair", data, hash, root, ...parity, "-o", scratch.at("x"), "--hash-output", data), 2, /would replace another file/);
    expectFailure(await verity("repair", data, hash, root.slice(2), ...parity, "-o", scratch.at("x")), 2, /wrong length/);
    expectFailure(await verity("repair", data, hash, root, "--fec-device", scratch.at("no"), "-o", scratch.at("x")), 2, /no such file/);
    expect(fs.existsSync(scratch.at("x"))).toBe(false);
  });
});
