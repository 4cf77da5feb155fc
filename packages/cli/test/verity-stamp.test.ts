import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { expectFailure, finished, here, imgkit, json, Scratch, start } from "./cli.ts";

// `imgkit verity stamp`: disks that other tools made, protected by us, judged by other tools again.

const scratch = new Scratch("stamp");
afterAll(() => scratch.remove());
const MIB = 1 << 20;
const opt = "6a4e1c5e-0000-4000-8000-000000000001";

interface Place {
  readonly number: number;
  readonly uuid: string;
  readonly name: string;
  readonly typeName?: string;
  readonly start: number;
  readonly size: number;
}

interface Pair {
  readonly data: Place;
  readonly verity: Place;
  readonly rootHash: string;
}

const slice = (disk: Buffer, { start, size }: Place): Buffer => disk.subarray(start, start + size);
const uuid = (hex: string): string => hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** A disk by sgdisk; each file goes to the start of a partition. */
function diskOf(name: string, size: number, sgdisk: string[], files: Readonly<Record<number, string>> = {}): string {
  const disk = scratch.write(name, "");
  fs.truncateSync(disk, size);
  execFileSync("sgdisk", [...sgdisk, disk], { stdio: "pipe" });
  for (const [number, file] of Object.entries(files)) {
    const first = /^First sector: (\d+)/m.exec(execFileSync("sgdisk", ["-i", number, disk], { encoding: "utf8" }))?.[1];
    execFileSync("dd", [`if=${file}`, `of=${disk}`, "bs=512", `seek=${first}`, "conv=notrunc"], { stdio: "pipe" });
  }
  return disk;
}

/** sgdisk, sfdisk and veritysetup accept the disk, and each pair announces its root hash. */
function judge(path: string, pairs: readonly Pair[]): void {
  expect(spawnSync("sgdisk", ["-v", path], { encoding: "utf8" }).stdout).toContain("No problems found");
  expect(execFileSync("sfdisk", ["-V", path], { encoding: "utf8" })).toContain("No errors detected");
  const disk = fs.readFileSync(path);
  for (const { data, verity, rootHash } of pairs) {
    const files = [scratch.write("cut-data", slice(disk, data)), scratch.write("cut-tree", slice(disk, verity))];
    execFileSync("veritysetup", ["verify", ...files, rootHash]);
    expect([data.uuid, verity.uuid]).toEqual([uuid(rootHash.slice(0, 32)), uuid(rootHash.slice(-32))]);
    const node = (n: number): string => execFileSync("sgdisk", ["-i", String(n), path], { encoding: "utf8" }).toLowerCase();
    expect(node(data.number)).toContain(`partition unique guid: ${data.uuid}`);
    expect(node(verity.number)).toContain(`partition unique guid: ${verity.uuid}`);
  }
}

describe("a disk made by sgdisk, with an EROFS root, a squashfs /usr and an ext4 /opt", () => {
  const tools = ["sgdisk", "sfdisk", "veritysetup", "mkfs.erofs", "mksquashfs", "mke2fs"];
  let disk: string;

  function make(): void {
    for (const name of ["usr/lib", "etc", "dev", "proc", "sys"]) scratch.folder(`tree/${name}`);
    scratch.write("tree/etc/os-release", "ID=test\n");
    scratch.write("tree/usr/lib/noise", pseudoRandomBytes(3, 3 * MIB));
    const [tree, erofs, squashfs, ext4] = ["tree", "root.erofs", "usr.squashfs", "opt.ext4"].map((name) => scratch.at(name)) as [
      string,
      string,
      string,
      string,
    ];
    execFileSync("mkfs.erofs", [erofs, tree], { stdio: "pipe" });
    execFileSync("mksquashfs", [tree, squashfs, "-quiet", "-noappend"], { stdio: "pipe" });
    execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, ext4, "8M"], { stdio: "pipe" });
    const parts = [
      ["1:0:+1M", "1:ef00", "1:esp"],
      ["2:0:+8M", "2:8304", "2:root"],
      ["3:0:+8M", "3:8314", "3:usr"],
      ["4:0:+8M", "4:8300", "4:opt"],
      ["5:0:+1M", "5:8300", "5:home"],
    ];
    const flags = parts.flatMap(([n = "", t = "", c = ""]) => ["-n", n, "-t", t, "-c", c]);
    disk = diskOf("built", 28 * MIB, flags, { 2: erofs, 3: squashfs, 4: ext4, 5: scratch.write("home", pseudoRandomBytes(5, MIB)) });
  }

  oracle(...tools)("several pairs: veritysetup verifies each by the printed root hash, and nothing else has changed", async () => {
    make();
    const out = scratch.at("protected");
    const args = ["--pair", "root", "--pair", "usr-x86-64", "--pair", `4,type=${opt}`];
    const { pairs, kernelOptions, size } = json(await here(["verity", "stamp", disk, "-o", out, ...args, "--json"]));
    judge(out, pairs);
    expect(pairs.map(({ data, verity }: Pair) => [data.name, verity.number, verity.name])).toEqual([
      ["root", 6, "root-verity"],
      ["usr", 7, "usr-verity"],
      ["opt", 8, "opt-verity"],
    ]);
    const [before, after] = [fs.readFileSync(disk), fs.readFileSync(out)];
    expect(after.length).toBe(size);
    const end = Math.min(...pairs.map((p: Pair) => p.verity.start));
    // All partitions that the disk had, and what stands between them and its table.
    expect(after.subarray(34 * 512, end).equals(before.subarray(34 * 512, end))).toBe(true);
    const [root, usr, third] = pairs.map((p: Pair) => p.rootHash);
    expect(kernelOptions.slice(0, 2)).toEqual([`roothash=${root}`, `usrhash=${usr}`]);
    const tables = (/^dm-mod\.create="(.*)"$/.exec(kernelOptions[2])?.[1] ?? "").split(";").map((device) => device.split(/[ ,]/));
    expect(tables.map((t) => [t[0], t[3], t[5], t[8], t[9], t[15]])).toEqual([
      ["root", "ro", String((8 * MIB) / 512), `PARTUUID=${pairs[0].data.uuid}`, `PARTUUID=${pairs[0].verity.uuid}`, root],
      ["usr", "ro", String((8 * MIB) / 512), `PARTUUID=${pairs[1].data.uuid}`, `PARTUUID=${pairs[1].verity.uuid}`, usr],
      ["opt", "ro", String((8 * MIB) / 512), `PARTUUID=${pairs[2].data.uuid}`, `PARTUUID=${pairs[2].verity.uuid}`, third],
    ]);

    // The same again, onto itself, is the same disk: nothing is random, and what a run added the next one fills.
    expect((await here(["verity", "stamp", out, ...args, "-q"])).code).toBe(0);
    expect(fs.readFileSync(out).equals(after)).toBe(true);
  });

  oracle(...tools)("without --pair: root and usr, in place, with what veritysetup's flags say", async () => {
    make();
    const flags = ["-h", "sha512", "--data-block-size", "1024", "--hash-block-size", "2048", "-s", "ab", "--uuid", opt];
    const printed = (await here(["verity", "stamp", disk, ...flags])).stdout.toString();
    const hashes = [...printed.matchAll(/root hash ([0-9a-f]{128})$/gm)].map((m) => m[1]);
    const { partitions } = json(await here(["gpt", "show", disk, "--json"]));
    const pairs = [
      { data: partitions[1], verity: partitions[5], rootHash: hashes[0] ?? "" },
      { data: partitions[2], verity: partitions[6], rootHash: hashes[1] ?? "" },
    ];
    judge(disk, pairs);
    expect(printed).toContain(`\nroothash=${hashes[0]}\nusrhash=${hashes[1]}\ndm-mod.create="root,,,ro,0 `);
    const tree = scratch.write("tree-of-usr", slice(fs.readFileSync(disk), partitions[6]));
    expect(execFileSync("veritysetup", ["dump", tree], { encoding: "utf8" })).toMatch(/UUID:\s+6a4e1c5e-.*size: \t1024.*size: \t2048.*sha512\nSalt:\s+ab\n/s);
  });

  oracle(...tools)("a partition that is there takes the tree, and is filled whole", async () => {
    make();
    const { pairs } = json(await here(["verity", "stamp", disk, "--pair", "opt,verity=5", "--json"]));
    judge(disk, pairs);
    expect(pairs[0].verity).toMatchObject({ number: 5, name: "home" });
    const { findings } = json(await here(["gpt", "verify", disk, "--json"]));
    expect(findings).toEqual([]);
  });

  oracleRoot(
    ...tools,
    "systemd-dissect",
    "loop",
  )("systemd-dissect takes root with its root hash, and no other", async () => {
    make();
    // Of a disk with /usr as well, systemd-dissect 252 wants another root hash than it can be given.
    expect((await here(["gpt", "edit", disk, "-d", "3"])).code).toBe(0);
    const { pairs } = json(await here(["verity", "stamp", disk, "--pair", "root", "--pair", `opt,type=${opt}`, "--json"]));
    const dissect = (hash: string) => spawnSync("systemd-dissect", ["--json=short", `--root-hash=${hash}`, disk], { encoding: "utf8" });
    const good = dissect(pairs[0].rootHash);
    expect(good.status, good.stderr).toBe(0);
    expect(JSON.parse(good.stdout).mounts).toContainEqual(
      expect.objectContaining({ designator: "root", fstype: "erofs", verity: "yes", partition_uuid: pairs[0].data.uuid }),
    );
    expect(dissect(pairs[1].rootHash).status).not.toBe(0);
  });
});

describe("on any system", () => {
  let disk: string;
  beforeAll(async () => {
    // Root, a ready verity partition and something else, on a disk without room.
    const empty = scratch.write("empty", pseudoRandomBytes(9, 6 * MIB));
    const { encodeGpt, gptTable, architectureTypes, commonTypes } = await import("@imgkit/verity");
    const part = (n: number, type: string, name: string, firstLba: number, lastLba: number) => {
      return { uuid: `0000000${n}-1111-4111-8111-111111111111`, type, name, firstLba, lastLba, attributes: 0n };
    };
    const { root } = architectureTypes["x86-64"];
    const partitions = [
      part(1, root.data, "root", 2048, 6143),
      part(2, commonTypes.home, "home", 6144, 10239),
      part(3, commonTypes.home, "home", 10240, 12000),
    ];
    const { primary, backup } = encodeGpt(gptTable({ sectorSize: 512, sectors: 12288, diskGuid: opt, partitions }));
    const bytes = fs.readFileSync(empty);
    for (const { offset, bytes: table } of [primary, backup]) bytes.set(table, offset);
    disk = scratch.write("plain", bytes);
  });

  test("a run that is killed leaves the disk as it was, and no other file", async () => {
    const folder = scratch.folder("killed");
    fs.copyFileSync(disk, `${folder}/disk`);
    const before = fs.readFileSync(disk);
    for (const delay of [150, 250, 400]) {
      const child = start(["verity", "stamp", `${folder}/disk`]);
      const timer = setTimeout(() => child.kill("SIGTERM"), delay);
      const { code, signal } = await finished(child);
      clearTimeout(timer);
      const bytes = fs.readFileSync(`${folder}/disk`);
      if (code === 0) fs.copyFileSync(disk, `${folder}/disk`);
      else expect([bytes.equals(before), code ?? signal]).toEqual([true, expect.toBeOneOf([143, "SIGTERM"])]);
      expect(fs.readdirSync(folder)).toEqual(["disk"]);
    }
  });

  test("the disk grows by what the tree needs; --record holds both digests, and a second run makes the same", async () => {
    const [out, record] = [scratch.at("grown"), scratch.at("record")];
    const first = await imgkit(["verity", "stamp", disk, "-o", out, "--record", record]);
    expect([first.code, first.stderr]).toEqual([0, ""]);
    expect(fs.statSync(out).size).toBeGreaterThan(12288 * 512);
    expect((await here(["gpt", "verify", out])).code).toBe(0);
    const { inputs, outputs, command } = JSON.parse(fs.readFileSync(record, "utf8"));
    expect([command, inputs[0].name, outputs[0].name, outputs[0].size]).toEqual(["verity stamp", disk, out, fs.statSync(out).size]);
    const bytes = fs.readFileSync(out);
    expect((await here(["verity", "stamp", disk, "-o", out])).stdout.equals(first.stdout)).toBe(true);
    expect(fs.readFileSync(out).equals(bytes)).toBe(true);
    // Another seed is another salt, so another root hash.
    expect((await here(["verity", "stamp", disk, "-o", out, "--seed", opt])).stdout.equals(first.stdout)).toBe(false);
  });

  test.each<[what: string, args: string[], cause: RegExp]>([
    ["a partition that is not there", ["--pair", "7"], /--pair.*1 \(root\), 2 \(home\), 3 \(home\).*"7"/],
    ["a name that two have", ["--pair", "home"], /more than one partition is called so/],
    ["a pair without a partition", ["--pair", ",verity=2"], /--pair.*number or name/],
    ["a pair with an unknown field", ["--pair", "1,tree=2"], /--pair.*verity=/],
    ["a data partition twice", ["--pair", "1", "--pair", "root"], /named twice/],
    ["a tree in its own data", ["--pair", "1,verity=1"], /partition 1 cannot take the tree/],
    ["a type without a verity type", ["--pair", "2"], /no verity type/],
    ["a tree that is too large", ["--pair", "1,verity=3", "--hash-block-size", "524288"], /partition 3 cannot hold the tree/],
    ["data that is no whole number of blocks", ["--pair", "3,type=swap"], /blocks|multiple/],
    ["a hash too short for UUIDs", ["-h", "sha1"], /too short for partition UUIDs/],
    ["a hash that is none", ["-h", "md4"], /md4/],
    ["a UUID that is none", ["--uuid", "x"], /UUID/],
    ["a seed that is none", ["--seed", "x"], /UUID/],
    ["a record over the disk", ["--record", scratch.at("plain")], /same file/],
  ])("%s is refused, and nothing is written", async (_, args, cause) => {
    const before = fs.readFileSync(disk);
    expectFailure(await here(["verity", "stamp", disk, ...args]), 2, cause);
    expect(fs.readFileSync(disk).equals(before)).toBe(true);
    expect(scratch.list().filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("what is no disk, or no file, is bad input", async () => {
    expectFailure(await here(["verity", "stamp", scratch.at("none")]), 2, /none: no such file/);
    expectFailure(await here(["verity", "stamp", scratch.write("zeros", Buffer.alloc(MIB))]), 2, /no GUID partition table/);
    expectFailure(await here(["verity", "stamp", disk, "-o", "/dev/null"]), 2, /not a regular file/);
  });
});

oracle("veritysetup")("veritysetup's --data-blocks 0 is all of the data, as no number is", async () => {
  const data = scratch.write("data", pseudoRandomBytes(4, 40 * 4096));
  const flags = ["-s", "ab", "--uuid", opt, "--data-blocks", "0"];
  const theirs = execFileSync("veritysetup", ["format", data, scratch.at("tree-1"), ...flags], { encoding: "utf8" });
  const ours = await here(["verity", "format", data, scratch.at("tree-2"), ...flags]);
  expect(ours.stdout.toString()).toBe(theirs.replace("tree-1", "tree-2"));
  expect(fs.readFileSync(scratch.at("tree-2")).equals(fs.readFileSync(scratch.at("tree-1")))).toBe(true);
});
