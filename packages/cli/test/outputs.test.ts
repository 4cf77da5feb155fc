import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { command, epoch, expectFailure, imgkit, Scratch } from "./cli.ts";

// An output appears whole or not at all: whatever stands in the way of it, and whatever stood there before.

const scratch = new Scratch("outputs");
afterAll(() => scratch.remove());

/** Each command that writes an output of its own, with a source of 2 MiB that does not compress. */
const writers: readonly [name: string, args: (output: string) => string[]][] = [
  ["rootfs", (output) => ["rootfs", scratch.at("tree"), "-o", output, ...epoch]],
  ["layer", (output) => ["layer", scratch.at("tree"), "-o", output, ...epoch]],
  ["image", (output) => ["image", scratch.at("tree"), "-o", output, ...epoch]],
  ["disk", (output) => ["disk", scratch.at("tree"), "-o", output, ...epoch]],
  ["verity format", (output) => ["verity", "format", scratch.at("data"), output]],
];

beforeAll(() => {
  scratch.folder("tree");
  scratch.write("tree/noise", pseudoRandomBytes(1, 2 << 20));
  // Its hash tree is 132 KiB.
  scratch.write("data", pseudoRandomBytes(2, 16 << 20));
  // Other users look in here.
  fs.chmodSync(scratch.path, 0o755);
});

/** A small file system of its own, mounted for one test file. */
function mounted(name: string, size: string, ...options: string[]): string {
  const folder = scratch.folder(name);
  execFileSync("mount", ["-t", "tmpfs", "-o", [`size=${size}`, ...options].join(","), "tmpfs", folder]);
  scratch.onRemove(() => execFileSync("umount", [folder]));
  return folder;
}

describe("an output in a folder that", () => {
  test.each(writers)("is missing: %s says which, and what to do", async (_, args) => {
    expectFailure(await imgkit(args(scratch.at("missing", "out"))), 2, /missing\/out: the output's folder does not exist.*mkdir -p \S+\/missing$/m);
    expect(fs.existsSync(scratch.at("missing"))).toBe(false);
  });

  test("is missing and has a space in its name: what to do is one word of a shell", async () => {
    const [, args] = writers[0] ?? [];
    expectFailure(await imgkit(args?.(scratch.at("not there", "out")) ?? []), 2, /mkdir -p '[^']+\/not there'$/m);
  });

  test.each(writers)("is a file: %s", async (_, args) => {
    expectFailure(await imgkit(args(scratch.at("data", "out"))), 2, /data\/out: .*folder/);
  });

  oracleRoot("setpriv").each(writers)("belongs to somebody else: %s", async (_, args) => {
    scratch.folder("theirs");
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    expectFailure(await imgkit(args(scratch.at("theirs", "out")), { prefix: nobody }), 3, /theirs\/out: cannot be written: permission denied/);
    expect(scratch.list("theirs")).toEqual([]);
  });

  oracleRoot("mount").each(writers)("is read-only, for root too: %s", async (name, args) => {
    const folder = mounted(`read-only ${name}`, "1m", "ro");
    expectFailure(await imgkit(args(`${folder}/out`)), 3, /out: cannot be written: the file system is read-only/);
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  oracleRoot("mount").each(writers)("has no room: %s leaves it empty", async (name, args) => {
    const folder = mounted(`full ${name}`, "64k");
    expectFailure(await imgkit(args(`${folder}/out`)), 3, /out.*: cannot be written: no space left on the device/);
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  oracleRoot("mount").each(writers)("has no room: what stood there before stays (%s)", async (name, args) => {
    const folder = mounted(`kept ${name}`, "64k");
    fs.writeFileSync(`${folder}/out`, "before");
    const output = name === "image" ? `${folder}/layout` : `${folder}/out`;
    expectFailure(await imgkit(args(output)), 3, /: cannot be written: no space left on the device/);
    expect(fs.readdirSync(folder)).toEqual(["out"]);
    expect(fs.readFileSync(`${folder}/out`, "utf8")).toBe("before");
  });
});

describe("other things that need room", () => {
  oracleRoot("mount")("a full TMPDIR, for a tar from standard input", async () => {
    const TMPDIR = mounted("full temporary", "64k");
    const tar = await imgkit(["rootfs", scratch.at("tree"), "-o", "-", "-q", ...epoch]);
    const result = await imgkit(["rootfs", "-", "-o", scratch.at("spooled.tar"), ...epoch], { env: { TMPDIR }, input: tar.stdout });
    expectFailure(result, 3, /ENOSPC.*TMPDIR/);
    expect(fs.existsSync(scratch.at("spooled.tar"))).toBe(false);
    expect(fs.readdirSync(TMPDIR)).toEqual([]);
  });

  oracleRoot("mount")("an image added to a layout that has no room for it: the layout stays as it was", async () => {
    const folder = mounted("full layout", "256k");
    const small = scratch.folder("small");
    expect((await imgkit(["image", small, "-o", `${folder}/oci:small`, ...epoch])).code).toBe(0);
    const before = execFileSync("find", [folder, "-type", "f"], { encoding: "utf8" });
    expectFailure(await imgkit(["image", scratch.at("tree"), "-o", `${folder}/oci:large`, ...epoch]), 3, /no space left/);
    expect(execFileSync("find", [folder, "-type", "f"], { encoding: "utf8" })).toBe(before);
    expect((await imgkit(["verify", `oci:${folder}/oci:small`])).code).toBe(0);
  });
});

describe("what stands under the final name", () => {
  const withRecord = writers.map(([name, args]): [string, typeof args] => [name, (output) => [...args(output), "--record", scratch.at("nowhere", "record")]]);

  test.each(withRecord)("%s: a record that cannot be written is found before any output is", async (name, args) => {
    const output = scratch.at(`recorded ${name}`);
    expectFailure(await imgkit(args(output)), 2, /nowhere\/record: the output's folder does not exist/);
    expect(fs.existsSync(output)).toBe(false);
  });

  test.each(writers)("%s: output and record may not be one file", async (name, args) => {
    const output = scratch.at(`same ${name}`);
    expectFailure(await imgkit([...args(output), "--record", `${scratch.path}/./same ${name}`]), 2, /--record.*same/);
    expect(fs.existsSync(output)).toBe(false);
  });

  test.each(writers)("%s: a folder is not replaced by a file", async (name, args) => {
    const folder = scratch.folder(`folder ${name}`);
    scratch.write(`folder ${name}/kept`, "kept");
    expectFailure(await imgkit(args(folder)), 2, /folder/);
    expect(scratch.list(`folder ${name}`)).toEqual(["kept"]);
  });

  test.each(["rootfs", "disk", "image"])("%s: a source that fails in its middle leaves the old output as it was", async (name) => {
    const tar = await imgkit(["rootfs", scratch.at("tree"), "-o", "-", "-q", ...epoch]);
    const cut = scratch.write("cut.tar", tar.stdout.subarray(0, 1_500_000));
    const old = scratch.write(`old ${name}`, "old");
    expectFailure(await imgkit([name, cut, "-o", old, ...epoch]), 2, /cut\.tar|old image/);
    expect(fs.readFileSync(old, "utf8")).toBe("old");
    expect(scratch.list().filter((entry) => entry.startsWith("."))).toEqual([]);
  });

  test.each([
    ["rootfs", "link.tar"],
    ["disk", "link.raw"],
  ])("%s: a symbolic link stays, and what it leads to is replaced", async (name, link) => {
    scratch.write(`behind-${name}`, "old");
    fs.symlinkSync(`behind-${name}`, scratch.at(link));
    const first = await imgkit([name, scratch.at("tree"), "-o", scratch.at(link), ...epoch]);
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(fs.readlinkSync(scratch.at(link))).toBe(`behind-${name}`);
    expect(fs.statSync(scratch.at(`behind-${name}`)).size).toBeGreaterThan(2 << 20);
  });

  test("a source may be its own output", async () => {
    const path = scratch.at("own.tar");
    expect((await imgkit(["rootfs", scratch.at("tree"), "-o", path, ...epoch])).code).toBe(0);
    const before = fs.readFileSync(path);
    expect((await imgkit(["rootfs", path, "-o", path, ...epoch])).code).toBe(0);
    expect(fs.readFileSync(path).equals(before)).toBe(true);
  });
});

describe("an output that is no file", () => {
  test("rootfs to /dev/null", async () => {
    const result = await imgkit(["rootfs", scratch.at("tree"), "-o", "/dev/null", ...epoch]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(fs.statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  test("disk to /dev/null, which cannot be read back, is refused", async () => {
    expectFailure(await imgkit(["disk", scratch.at("tree"), "-o", "/dev/null", ...epoch]), 2, /\/dev\/null: .*a regular file/);
    expect(fs.statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  test.each(["/dev/stdout", "/dev/fd/1"])("rootfs to %s is the same as to -", async (path) => {
    const expected = await imgkit(["rootfs", scratch.at("tree"), "-o", "-", ...epoch]);
    const result = await imgkit(["rootfs", scratch.at("tree"), "-o", path, ...epoch]);
    expect(result.code).toBe(0);
    expect(result.stdout.equals(expected.stdout)).toBe(true);
  });
});

describe("an output in the folder that is its source is no part of it", () => {
  test.each(["rootfs", "layer", "image", "disk"])("%s: a second run gives the same bytes, and says what it left out", async (name) => {
    const cwd = scratch.folder(`inside-${name}`);
    fs.writeFileSync(`${cwd}/file`, "content");
    const run = async () => {
      const { code, stdout, stderr } = await imgkit([name, ".", "-o", "out", ...epoch, "--json"], { cwd });
      expect(code, stderr).toBe(0);
      const { output, findings, source, sources } = JSON.parse(stdout.toString());
      return { digest: output.digest, findings: findings ?? (source ?? sources[0]).findings };
    };
    const first = await run();
    expect(first.findings).toEqual([]);
    expect(await run()).toEqual({ digest: first.digest, findings: ["out: left out: it is the output of this run"] });
  });

  test("also where the shell has sent standard output there", async () => {
    const cwd = scratch.folder("inside-shell");
    fs.writeFileSync(`${cwd}/file`, "content");
    const shell = (line: string) => execFileSync("sh", ["-c", line], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    const tar = `'${process.execPath}' '${command}' rootfs . -o - --epoch 1700000000 -q`;
    shell(`${tar} > out.tar`);
    expect(shell("tar -tf out.tar").toString()).toBe("./\n./file\n");
  });
});
