import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, json, Scratch } from "./cli.ts";

const scratch = new Scratch("disk-lz4");
afterAll(() => scratch.remove());

const text = Array.from({ length: 20_000 }, (_, i) => `line ${(i * 7919) % 10_007}\n`).join("");

beforeAll(() => {
  fs.mkdirSync(scratch.at("tree/usr/share"), { recursive: true });
  fs.writeFileSync(scratch.at("tree/usr/share/text"), text);
  fs.writeFileSync(scratch.at("tree/noise"), pseudoRandomBytes(1, 30_000));
  fs.writeFileSync(scratch.at("tree/small"), "small\n");
});

const disk = (name: string, ...args: string[]) => here(["disk", scratch.at("tree"), ...epoch, ...args, "-o", scratch.at(name)]);

describe("disk --compression lz4", () => {
  test("is smaller, verifies, and is the tree to ls, cat and diff", async () => {
    const plain = json(await disk("plain.raw", "--json"));
    const packed = json(await disk("packed.raw", "--compression", "lz4", "--json", "--map", scratch.at("map.json")));
    expect(packed.partitions[0].size).toBeLessThan(plain.partitions[0].size - 100_000);
    expect((await here(["verify", scratch.at("packed.raw"), "--root-hash", packed.rootHash])).code).toBe(0);
    expect((await here(["cat", scratch.at("packed.raw"), "/usr/share/text"])).stdout.toString()).toBe(text);
    expect((await here(["diff", scratch.at("plain.raw"), scratch.at("packed.raw")])).code).toBe(0);
    const [{ extents }] = JSON.parse(fs.readFileSync(scratch.at("map.json"), "utf8")).fileSystems;
    expect(extents).toContainEqual(expect.objectContaining({ part: "data", path: "usr/share/text" }));
  });

  test("the same again, and with file systems of their own for folders", async () => {
    const one = json(await disk("one.raw", "--compression", "lz4", "--split", "usr", "--json"));
    const two = json(await disk("two.raw", "--compression", "lz4", "--split", "usr", "--json"));
    expect(two.output.digest).toBe(one.output.digest);
    expect((await here(["verify", scratch.at("one.raw")])).code).toBe(0);
  });

  test("is refused for a ready image, and by another name", async () => {
    const { partitions } = json(await disk("whole.raw", "--json"));
    const { offset, size } = partitions[0];
    fs.writeFileSync(scratch.at("root.erofs"), fs.readFileSync(scratch.at("whole.raw")).subarray(offset, offset + size));
    const ready = ["disk", scratch.at("root.erofs"), "--compression", "lz4", "-o", scratch.at("no.raw")];
    expectFailure(await here(ready), 2, /a ready image is not compressed/);
    expectFailure(await disk("no.raw", "--compression", "zstd"), 2, /--compression.*Allowed choices are none, lz4/);
    expect(fs.existsSync(scratch.at("no.raw"))).toBe(false);
  });

  oracleRoot(
    "mount",
    "loop",
    "veritysetup",
  )("the kernel reads the files, and veritysetup verifies the partition", async () => {
    const { partitions, rootHash } = json(await disk("mounted.raw", "--compression", "lz4", "--json"));
    const part = (i: number): string => {
      const { offset, size } = partitions[i];
      fs.writeFileSync(scratch.at(`part${i}`), fs.readFileSync(scratch.at("mounted.raw")).subarray(offset, offset + size));
      return scratch.at(`part${i}`);
    };
    execFileSync("veritysetup", ["verify", part(0), part(1), rootHash]);
    fs.mkdirSync(scratch.at("mounted"));
    execFileSync("mount", ["-o", "loop,ro", scratch.at("part0"), scratch.at("mounted")]);
    try {
      expect(fs.readFileSync(scratch.at("mounted/usr/share/text"), "utf8")).toBe(text);
    } finally {
      execFileSync("umount", [scratch.at("mounted")]);
    }
  });

  oracle("mkfs.erofs")("an image that mkfs.erofs compressed goes onto a disk, and is read there", async () => {
    execFileSync("mkfs.erofs", ["--quiet", "-zlz4hc", "-T1700000000", scratch.at("theirs.erofs"), scratch.at("tree")]);
    expect((await here(["cat", scratch.at("theirs.erofs"), "/usr/share/text"])).stdout.toString()).toBe(text);
    expect((await here(["disk", scratch.at("theirs.erofs"), "-o", scratch.at("theirs.raw")])).code).toBe(0);
    expect((await here(["cat", scratch.at("theirs.raw"), "/usr/share/text"])).stdout.toString()).toBe(text);
  });
});
