import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import { inflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { long, oracle } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, json, Scratch } from "./cli.ts";

// `imgkit verify --html`: the page is written whatever the verdict is, and looked at in a real browser.

const scratch = new Scratch("report");
afterAll(() => scratch.remove());
const browser = process.env.IMGKIT_LONG === "1" ? oracle("chromium") : long();

const data = { offset: 0, size: 0 };
let rootHash: string;
/** Of the block that is bad on `bad.raw`, from the start of the disk. */
let bad: number;

beforeAll(async () => {
  scratch.folder("tree/bin");
  fs.writeFileSync(scratch.at("tree/bin/noise"), pseudoRandomBytes(3, 2 << 20));
  const made = json(await here(["disk", scratch.at("tree"), ...epoch, "-o", scratch.at("disk.raw"), "--json"]));
  rootHash = made.rootHash;
  Object.assign(data, made.partitions[0]);
  bad = data.offset + Math.floor(data.size / 2 / 4096) * 4096;
  const bytes = fs.readFileSync(scratch.at("disk.raw"));
  bytes[bad] = (bytes[bad] ?? 0) ^ 1;
  fs.writeFileSync(scratch.at("bad.raw"), bytes);
});

const page = (name: string): string => fs.readFileSync(scratch.at(name), "utf8");

describe("imgkit verify --html", () => {
  test("a good disk against its root hash; the exit code and what is printed are as without it", async () => {
    const plain = await here(["verify", scratch.at("disk.raw"), "--root-hash", rootHash]);
    const result = await here(["verify", scratch.at("disk.raw"), "--root-hash", rootHash, "--html", scratch.at("good.html")]);
    expect([result.code, result.stdout.toString(), result.stderr]).toEqual([plain.code, plain.stdout.toString(), plain.stderr]);
    expect(page("good.html")).toContain("<h1>verified</h1>");
    await here(["verify", scratch.at("disk.raw"), "--html", scratch.at("alone.html")]);
    expect(page("alone.html")).toContain("<h1>consistent with itself</h1>");
  });

  test("a bad block: exit code 1, and the page names the file and is the same again", async () => {
    for (const name of ["bad.html", "again.html"])
      expect((await here(["verify", scratch.at("bad.raw"), "--root-hash", rootHash, "--html", scratch.at(name)])).code).toBe(1);
    expect(page("bad.html")).toContain("<h1>NOT verified</h1>");
    expect(page("bad.html")).toContain("/bin/noise");
    expect(page("again.html")).toBe(page("bad.html"));
  });

  test("a tar and a layout have a page too", async () => {
    await here(["rootfs", scratch.at("tree"), ...epoch, "-o", scratch.at("root.tar")]);
    await here(["image", scratch.at("root.tar"), ...epoch, "-o", scratch.at("oci")]);
    const { output } = json(await here(["image", scratch.at("root.tar"), ...epoch, "-o", scratch.at("oci"), "--json"]));
    const args = ["verify", `oci:${scratch.at("oci")}`, "--digest", output.digest, "--html", scratch.at("layout.html")];
    expect((await here(args)).code).toBe(0);
    expect(page("layout.html")).toContain("<h1>verified</h1>");
  });

  test("what is verified is not overwritten, and a folder that is not there is said before the work", async () => {
    const disk = scratch.at("disk.raw");
    const before = fs.statSync(disk).mtimeMs;
    expectFailure(await here(["verify", disk, "--html", disk]), 2, /what is verified are the same file/);
    expectFailure(await here(["verify", disk, "--html", scratch.at("none/report.html")]), 2, /output's folder does not exist/);
    expect(fs.statSync(disk).mtimeMs).toBe(before);
  });

  oracle("veritysetup")("the commands on the page verify the good disk, and not the bad one", async () => {
    for (const [name, code] of [
      ["disk.raw", 0],
      ["bad.raw", 1],
    ] as const) {
      await here(["verify", scratch.at(name), "--root-hash", rootHash, "--html", scratch.at("recipe.html")]);
      const lines = /<pre>(.*?)<\/pre>/s.exec(page("recipe.html"))?.[1] ?? "";
      // What the page shows is what a reader copies.
      const commands = lines.replaceAll("&gt;", ">").replaceAll("&#39;", "'").replaceAll("&amp;", "&");
      const { status, stderr } = spawnSync("sh", ["-ec", commands], { cwd: scratch.folder("recipe"), encoding: "utf8" });
      expect([status === 0 ? 0 : 1, name, stderr]).toEqual([code, name, code === 0 ? "" : stderr]);
    }
  });

  browser("in Chromium the bad block is red at its place, the good disk has no red but in the key", async () => {
    await here(["verify", scratch.at("disk.raw"), "--root-hash", rootHash, "--html", scratch.at("good.html")]);
    await here(["verify", scratch.at("bad.raw"), "--root-hash", rootHash, "--html", scratch.at("bad.html")]);
    const good = screenshot("good");
    const shown = screenshot("bad");
    expect([shown.width, shown.height]).toEqual([1024, 1400]);
    // The rows of the picture are 864 wide, from 96 on, in a page whose margins are 32 + 24.
    const expected = 56 - 24 + 96 + ((bad - data.offset) / data.size) * 864;
    const columns = redRuns(shown);
    expect(columns.some(([from, to]) => Math.abs(from - expected) < 4 && to - from <= 6)).toBe(true);
    expect(redRuns(good).some(([from]) => Math.abs(from - expected) < 4)).toBe(false);
    expect(redRuns(good).length).toBeGreaterThan(0);
  });
});

interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green, blue (and alpha) of each pixel. */
  readonly rows: readonly Uint8Array[];
  readonly step: number;
}

function screenshot(name: string): Picture {
  const file = scratch.at(`${name}.png`);
  const flags = "--headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1 --window-size=1024,1400".split(" ");
  const profile = `--user-data-dir=${scratch.folder(`profile-${name}`)}`;
  execFileSync("chromium", [...flags, profile, `--screenshot=${file}`, `file://${scratch.at(`${name}.html`)}`], { stdio: "ignore" });
  return readPng(fs.readFileSync(file));
}

/** A PNG of 8 bits a channel, without interlacing, as Chromium writes it. */
function readPng(bytes: Buffer): Picture {
  const [width, height, kind] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20), bytes[25]];
  expect([bytes[24], bytes[28]]).toEqual([8, 0]);
  const step = kind === 6 ? 4 : 3;
  const parts: Buffer[] = [];
  for (let at = 8; at < bytes.length; at += 12 + bytes.readUInt32BE(at))
    if (bytes.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at)));
  const raw = inflateSync(Buffer.concat(parts));
  const rows: Uint8Array[] = [];
  for (let y = 0; y < height; y++) rows.push(unfilter(raw.subarray(y * (width * step + 1), (y + 1) * (width * step + 1)), rows[y - 1], step));
  return { width, height, rows, step };
}

function unfilter(line: Uint8Array, above: Uint8Array | undefined, step: number): Uint8Array {
  const out = new Uint8Array(line.length - 1);
  for (let i = 0; i < out.length; i++) {
    const [a, b, c] = [out[i - step] ?? 0, above?.[i] ?? 0, above?.[i - step] ?? 0];
    const p = a + b - c;
    const paeth = Math.abs(p - a) <= Math.abs(p - b) && Math.abs(p - a) <= Math.abs(p - c) ? a : Math.abs(p - b) <= Math.abs(p - c) ? b : c;
    out[i] = (line[i + 1] ?? 0) + ([0, a, b, (a + b) >> 1, paeth][line[0] ?? 0] ?? 0);
  }
  return out;
}

/** Runs of the page's red in any row, as columns from and to. */
function redRuns({ width, rows, step }: Picture): (readonly [from: number, to: number])[] {
  const runs: (readonly [number, number])[] = [];
  for (const row of rows) {
    let from = -1;
    for (let x = 0; x <= width; x++) {
      const red = row[x * step] === 0xcf && row[x * step + 1] === 0x22 && row[x * step + 2] === 0x2e;
      if (red && from < 0) from = x;
      if (!red && from >= 0) runs.push([from, x]);
      if (!red) from = -1;
    }
  }
  return runs;
}

test("the picture reader undoes every filter of PNG", () => {
  const above = Uint8Array.of(10, 20, 30, 40, 50, 60);
  const pixels = Uint8Array.of(11, 200, 3, 255, 0, 61);
  const left = (i: number): number => pixels[i - 3] ?? 0;
  const predicted = [() => 0, left, (i: number) => above[i] ?? 0, (i: number) => (left(i) + (above[i] ?? 0)) >> 1] as const;
  for (const [filter, of] of predicted.entries()) {
    const line = Uint8Array.of(filter, ...pixels.map((value, i) => value - of(i)));
    expect([...unfilter(line, above, 3)]).toEqual([...pixels]);
  }
});
