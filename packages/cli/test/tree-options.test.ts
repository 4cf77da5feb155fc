import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { openFile } from "@imgkit/bytes/node";
import { readTar, type Tree } from "@imgkit/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Io } from "../src/io.ts";
import { run } from "../src/program.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-options-"));
  mkdirSync(join(folder, "root", "etc"), { recursive: true });
  writeFileSync(join(folder, "root", "etc", "hostname"), "builder\n", { mode: 0o664 });
  writeFileSync(join(folder, "root", "etc", "motd"), "old\n");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (...names: string[]): string => join(folder, ...names);

async function imgkit(...args: string[]): Promise<{ code: number; json: Record<string, unknown>; stderr: string }> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const sink = (into: Buffer[]): Writable =>
    new Writable({
      write(chunk, _encoding, done) {
        into.push(Buffer.from(chunk));
        done();
      },
    });
  const io: Io = {
    stdin: new PassThrough(),
    stdout: sink(out),
    stderr: sink(err),
    env: {},
    temporary: folder,
    clock: () => 0,
    signal: new AbortController().signal,
    unfinished: new Set(),
  };
  const code = await run([...args, "--json"], io);
  return { code, json: JSON.parse(Buffer.concat(out).toString() || "{}"), stderr: Buffer.concat(err).toString() };
}

/** Runs `rootfs` with these options and reads the tar back. */
async function rootfs(...options: string[]): Promise<{ tree: Tree; json: Record<string, unknown> }> {
  const { code, json, stderr } = await imgkit("rootfs", at("root"), "--epoch", "1000000000", "-o", at("out.tar"), "--no-xattrs", "--owner", "0:0", ...options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const file = openFile(at("out.tar"));
  try {
    const { tree } = await readTar(file);
    return { tree, json };
  } finally {
    file.close();
  }
}

const lines = (tree: Tree): string[] => [...tree].map((node) => `${node.path} ${node.mode.toString(8)} ${node.uid}:${node.gid}`);

describe("what the options make of a tree", () => {
  test("paths are excluded, moved and stripped", async () => {
    expect(lines((await rootfs("--exclude", "motd", "--prefix", "opt/app")).tree)).toEqual(
      [" 755 0:0", "opt 755 0:0", "opt/app 755 0:0", "opt/app/etc 755 0:0", "opt/app/etc/hostname 664 0:0"].map((line) => line.replace("664", mode(0o664))),
    );
    expect(lines((await rootfs("--strip-prefix", "/etc/")).tree).map((line) => line.split(" ")[0])).toEqual(["", "hostname", "motd"]);
    expect(lines((await rootfs("--include", "etc/host*")).tree).map((line) => line.split(" ")[0])).toEqual(["", "etc", "etc/hostname"]);
  });

  test("files are added, other sources put over, and the record names them all", async () => {
    mkdirSync(at("top", "usr"), { recursive: true });
    writeFileSync(at("top", "usr", "new"), "n");
    writeFileSync(at("motd"), "new\n", { mode: 0o600 });
    const { tree, json } = await rootfs("--overlay", at("top"), "--add", `etc/motd=${at("motd")}`, "--record", at("record.json"));
    expect(lines(tree).map((line) => line.split(" ")[0])).toEqual(["", "etc", "etc/hostname", "etc/motd", "usr", "usr/new"]);
    expect(tree.get("etc/motd")).toMatchObject({ mode: 0o600, mtime: 1_000_000_000n * 1_000_000_000n });
    expect(json.changed).toMatchObject({ added: 2, replaced: 2 });
    const record = JSON.parse(new TextDecoder().decode(await readAll(at("record.json"))));
    expect(record.inputs.map((input: { name: string }) => input.name)).toEqual([at("root"), at("top"), at("motd")]);
  });

  test("ids are mapped and modes masked", async () => {
    const { tree } = await rootfs("--mode-clear", "077", "--mode-set", "4000");
    expect(lines(tree).map((line) => line.split(" ").slice(1).join(" "))).toEqual(["4700 0:0", "4700 0:0", "4600 0:0", "4600 0:0"]);
    expect([...(await rootfs("--id-map", `${process.getuid?.() ?? 0}:0:1`)).tree].every((node) => node.uid === 0)).toBe(true);
  });

  test("suspects are named and stay", async () => {
    const { tree, json } = await rootfs();
    expect(json.suspects).toMatchObject([{ path: "etc/hostname", code: "HOST_CONFIGURATION" }]);
    expect(tree.has("etc/hostname")).toBe(true);
  });
});

describe("what they refuse", () => {
  test.each([
    ["--id-map", "0:0:0", /Expected FROM:TO:COUNT/],
    ["--id-map", "0:4294967295:2", /Expected FROM:TO:COUNT/],
    ["--mode-clear", "8", /octal/],
    ["--add", "etc/motd", /Expected PATH=FILE/],
    ["--strip-prefix", "nowhere", /nowhere: no folder of this name/],
    ["--profile", "slim", /Allowed choices are debian, debian-slim, wolfi, none/],
  ])("%s %s", async (option, value, message) => {
    const { code, stderr } = await imgkit("rootfs", at("root"), "--epoch", "1", "-o", at("out.tar"), "--no-xattrs", option, value);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr.trim()).not.toContain("\n");
  });
});

function mode(given: number): string {
  return (given & ~process.umask()).toString(8);
}

async function readAll(path: string): Promise<Uint8Array> {
  const file = openFile(path);
  try {
    return await file.read(0, file.size);
  } finally {
    file.close();
  }
}
