import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createGunzip } from "node:zlib";
import { isZero } from "@imgkit/bytes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { long, oracle } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, json, Scratch } from "./cli.ts";

const scratch = new Scratch("convert");
afterAll(() => scratch.remove());
const sha256 = (path: string): string => `sha256:${createHash("sha256").update(fs.readFileSync(path)).digest("hex")}`;
const raw = scratch.at("disk.raw");
let rootHash: string;

beforeAll(async () => {
  await writeFixtureTar(scratch.at("fixture.tar"));
  rootHash = json(await here(["disk", scratch.at("fixture.tar"), "-o", raw, ...epoch, "--json"])).rootHash;
});

const disk = (...args: string[]) => here(["disk", scratch.at("fixture.tar"), ...epoch, ...args]);

describe("imgkit disk writes a container", () => {
  const rows: readonly (readonly [name: string, format: string, args: readonly string[], driver: string])[] = [
    ["named.qcow2", "qcow2", [], "qcow2"],
    ["packed.qcow2", "qcow2", ["--compress"], "qcow2"],
    ["named.vhd", "vhd", [], "vpc"],
    ["named.vmdk", "vmdk", [], "vmdk"],
    ["given.img", "qcow2", ["--format", "qcow2"], "qcow2"],
    ["plain.qcow2", "raw", ["--format", "raw"], "raw"],
  ];
  for (const [name, container, args, driver] of rows) {
    oracle("qemu-img")(`${name} ${args.join(" ")}: told by name or option, of the same disk and root hash, verified from its own record`, async () => {
      const out = scratch.at(name);
      const told = json(await disk("-o", out, ...args, "--json", "--record", `${out}.json`));
      expect(told).toMatchObject({ container, rootHash, output: { path: out, digest: sha256(out), size: fs.statSync(out).size } });
      expect(execFileSync("qemu-img", ["compare", "-f", "raw", "-F", driver, raw, out], { encoding: "utf8" })).toBe("Images are identical.\n");
      if (container === "vmdk") {
        expectFailure(await here(["verify", out]), 2, /found VMDK.*qemu-img convert/);
        return;
      }
      const verified = json(await here(["verify", out, "--root-hash", rootHash, "--from", `${out}.json`, "--json"]));
      expect([verified.kind, verified.ok]).toEqual(["disk", true]);
    });
  }

  test("for Google's cloud it is laid out on whole GiB", async () => {
    const out = scratch.at("disk.tar.gz");
    const told = json(await disk("-o", out, "--json"));
    expect(told).toMatchObject({ container: "gce", size: 2 ** 30, rootHash, output: { digest: sha256(out) } });
  }, 60_000);

  long()(
    "what is in that archive verifies",
    async () => {
      const out = scratch.at("long.tar.gz");
      json(await disk("-o", out, "--json"));
      const gib = fs.openSync(scratch.at("gib.raw"), "w");
      let at = -512;
      for await (const chunk of fs.createReadStream(out).pipe(createGunzip({ chunkSize: 1 << 20 })) as AsyncIterable<Buffer>) {
        const part = at < 0 ? chunk.subarray(512) : chunk;
        at = Math.max(at, 0);
        if (!isZero(part)) fs.writeSync(gib, part, 0, part.length, at);
        at += part.length;
      }
      fs.ftruncateSync(gib, 2 ** 30);
      fs.closeSync(gib);
      expect(json(await here(["verify", scratch.at("gib.raw"), "--root-hash", rootHash, "--json"])).ok).toBe(true);
    },
    60_000,
  );

  test("--compress of anything but qcow2, and a VHD before 2000, are refused, and nothing is written", async () => {
    const out = scratch.at("no.vhd");
    expectFailure(await disk("-o", out, "--compress"), 2, /--compress is for qcow2/);
    expectFailure(await here(["disk", scratch.at("fixture.tar"), "-o", out, "--epoch", "0"]), 2, /a time that a VHD does not hold/);
    expect(fs.readdirSync(scratch.at(".")).filter((name) => name.includes("no.vhd"))).toEqual([]);
  });
});

describe("imgkit convert", () => {
  test("there and back: the same disk, digests as told, twice the same bytes", async () => {
    for (const [name, ...args] of [["c.qcow2"], ["c2.qcow2", "--compress"], ["c.vhd", ...epoch]] as const) {
      const [there, again, back] = [scratch.at(name), scratch.at(`again-${name}`), scratch.at(`${name}.raw`)];
      const told = json(await here(["convert", raw, there, ...args, "--json"]));
      expect(told).toMatchObject({
        input: { format: "raw" },
        diskSize: fs.statSync(raw).size,
        output: { path: there, digest: sha256(there), size: fs.statSync(there).size },
      });
      expect((await here(["convert", there, again, ...args])).stdout.toString()).toMatch(`${sha256(there)}  ${again}  (`);
      json(await here(["convert", there, back, "--json"]));
      expect(sha256(back)).toBe(sha256(raw));
    }
  });

  test("the file that disk writes is the one that convert makes of the raw disk", async () => {
    for (const name of ["d.qcow2", "d.vhd"]) {
      json(await disk("-o", scratch.at(name), "--json"));
      json(await here(["convert", raw, scratch.at(`c-${name}`), ...epoch, "--json"]));
      expect(sha256(scratch.at(name))).toBe(sha256(scratch.at(`c-${name}`)));
    }
  });

  test("a file that is no whole MiB is no VHD, and no time is taken from the clock", async () => {
    fs.writeFileSync(scratch.at("odd"), Buffer.alloc(1024, 1));
    expectFailure(await here(["convert", scratch.at("odd"), scratch.at("odd.vhd"), ...epoch]), 2, /whole MiB/);
    expectFailure(await here(["convert", raw, scratch.at("odd.vhd")]), 2, /no epoch is given/);
    expect(fs.existsSync(scratch.at("odd.vhd"))).toBe(false);
  });
});

describe("what takes a disk takes one in a container", () => {
  beforeAll(async () => {
    json(await here(["convert", raw, scratch.at("x.qcow2"), "--compress", "--json"]));
    json(await here(["convert", raw, scratch.at("x.vhd"), ...epoch, "--json"]));
  });

  for (const name of ["x.qcow2", "x.vhd"]) {
    test(`${name}: verify, ls, cat, extract, diff, gpt show and gpt verify say what they say of the raw disk`, async () => {
      const x = scratch.at(name);
      const same = async (args: (x: string) => readonly string[]): Promise<void> => {
        const [ours, wanted] = [await here(args(x)), await here(args(raw))];
        expect([ours.code, ours.stdout.toString().replaceAll(x, raw)]).toEqual([wanted.code, wanted.stdout.toString()]);
        expect(wanted.code).toBe(0);
      };
      await same((file) => ["verify", file, "--root-hash", rootHash]);
      await same((file) => ["verify", file, "--json"]);
      await same((file) => ["ls", "-lR", file]);
      await same((file) => ["cat", file, "/etc/passwd"]);
      await same((file) => ["gpt", "show", file]);
      await same((file) => ["gpt", "verify", file, "--gaps"]);
      expect((await here(["diff", raw, x])).code).toBe(0);
      const folder = scratch.at(`out-${name}`);
      expect((await here(["extract", x, folder, "/etc", "--no-devices", "--no-same-owner"])).code).toBe(0);
      expect(fs.existsSync(`${folder}/etc/passwd`)).toBe(true);
    });

    test(`${name}: a byte of the disk changed is found`, async () => {
      const bad = scratch.at(`bad-${name}`);
      fs.copyFileSync(raw, scratch.at("bad.raw"));
      const fd = fs.openSync(scratch.at("bad.raw"), "r+");
      fs.writeSync(fd, Buffer.of(0x55), 0, 1, (1 << 20) + 1030);
      fs.closeSync(fd);
      json(await here(["convert", scratch.at("bad.raw"), bad, ...epoch, "--json"]));
      expect((await here(["verify", bad, "--root-hash", rootHash])).code).toBe(1);
    });

    test(`${name}: what changes a disk refuses it, and says what to do`, async () => {
      const x = scratch.at(name);
      const before = sha256(x);
      for (const args of [
        ["gpt", "edit", x, "-c", "1:new"],
        ["verity", "stamp", x],
      ]) {
        expectFailure(await here(args), 2, /imgkit convert .* disk\.raw/);
      }
      expect(sha256(x)).toBe(before);
    });
  }

  test("a damaged container, and one that is not read here, are refused with their path", async () => {
    const bad = scratch.at("bad.qcow2");
    const bytes = fs.readFileSync(scratch.at("x.qcow2"));
    bytes.writeUInt32BE(30, 20);
    fs.writeFileSync(bad, bytes);
    for (const args of [
      ["verify", bad],
      ["ls", bad],
      ["gpt", "show", bad],
      ["convert", bad, scratch.at("never.raw")],
    ]) {
      expectFailure(await here(args), 2, /bad\.qcow2: not a qcow2 file, or a damaged one/);
    }
    fs.writeFileSync(scratch.at("x.vhdx"), Buffer.concat([Buffer.from("vhdxfile"), Buffer.alloc(5000)]));
    expectFailure(await here(["ls", scratch.at("x.vhdx")]), 2, /found VHDX/);
    expect(fs.existsSync(scratch.at("never.raw"))).toBe(false);
  });
});
