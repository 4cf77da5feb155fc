import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, json, Scratch } from "./cli.ts";

// `imgkit verity proof` and `verity reroot`: a file of a disk proven from its bytes, here and behind HTTP, and trees that follow their data.

const scratch = new Scratch("proof");
afterAll(() => scratch.remove());
const osRelease = "ID=test\nVERSION=1\n";
const [disk, proofFile] = [scratch.at("disk.raw"), scratch.at("proof.json")];
let rootHash: string;

beforeAll(async () => {
  for (const name of ["etc", "usr/lib", "dev", "proc", "sys"]) scratch.folder(`tree/${name}`);
  scratch.write("tree/usr/lib/os-release", osRelease);
  fs.symlinkSync("../usr/lib/os-release", scratch.at("tree/etc/os-release"));
  scratch.write("tree/usr/lib/noise", pseudoRandomBytes(3, 4 << 20));
  scratch.write("tree/usr/lib/large", pseudoRandomBytes(4, 300_000));
  const made = json(await here(["disk", scratch.at("tree"), "-o", disk, ...epoch, "--json", "--quiet"]));
  rootHash = made.pairs?.[0]?.rootHash ?? made.rootHash;
});

async function proofJson(...args: string[]) {
  return json(await here(["verity", "proof", ...args, "--json"]));
}
const verify = (...args: string[]) => here(["verity", "proof", "verify", proofFile, ...args]);

describe("a file of a disk", () => {
  test("is proven, and read from the proof alone", async () => {
    const made = await proofJson(disk, "--file", "/etc/os-release", "-o", proofFile);
    expect(made).toMatchObject({ rootHash, anchor: "partition UUIDs", file: "/etc/os-release", mountPoint: "/", size: fs.statSync(proofFile).size });
    expect(made.size).toBeLessThan(40_000);
    const blocks = String(made.dataBlocks);
    const out = await verify("--root-hash", rootHash, "--data-blocks", blocks, "--content", "-");
    expect(out).toMatchObject({ code: 0 });
    expect(out.stdout.toString()).toBe(osRelease);
    expect(out.stderr).toContain("/etc/os-release, which leads to /usr/lib/os-release: 18 bytes");
    const verified = json(await verify("--root-hash", rootHash, "--file", "etc/os-release", "--json"));
    expect(verified).toMatchObject({ ok: true, realPath: "usr/lib/os-release", size: 18, assumed: ["dataBlocks"], blocks: made.blocks });
    expect((await verify("--root-hash", rootHash)).stderr).toMatch(/warning: .*--data-blocks/);
    // The same proof each time, on standard output too.
    const again = await here(["verity", "proof", disk, "--file", "etc/os-release", "--root-hash", rootHash]);
    expect(again.stdout.equals(fs.readFileSync(proofFile))).toBe(true);
    expect(again.stderr).toContain("held to the given root hash");
  });

  test("is refused with another root hash, path, number of blocks, parameters, or byte", async () => {
    await proofJson(disk, "--file", "/etc/os-release", "-o", proofFile);
    const other = `${rootHash.slice(0, -1)}${rootHash.endsWith("0") ? "1" : "0"}`;
    for (const [args, code] of [
      [["--root-hash", other], "NOT_AUTHENTIC"],
      [["--root-hash", rootHash, "--file", "usr/lib/large"], "OTHER_PARAMETERS"],
      [["--root-hash", rootHash, "--data-blocks", "7"], "OTHER_PARAMETERS"],
      [["--root-hash", rootHash, "--salt", "00"], "OTHER_PARAMETERS"],
      [["--root-hash", rootHash, "--format", "0"], "OTHER_PARAMETERS"],
    ] as const) {
      expect(json(await verify(...args, "--json"), 1)).toMatchObject({ ok: false, finding: { code } });
    }
    const text = fs.readFileSync(proofFile, "utf8");
    const at = text.lastIndexOf('"bytes":"') + 30;
    fs.writeFileSync(proofFile, `${text.slice(0, at)}${text[at] === "A" ? "B" : "A"}${text.slice(at + 1)}`);
    expect(await verify("--root-hash", rootHash)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/refused: data block \d+ is not what the digest above it says/),
    });
    fs.writeFileSync(proofFile, text.slice(0, -5));
    expectFailure(await verify("--root-hash", rootHash), 2, /not a proof/);
  });

  test("is read and verified without a proof, and not when the disk was changed there", async () => {
    const out = scratch.at("content");
    const made = await proofJson(disk, "--file", "usr/lib/noise", "--content", out);
    expect(made).toMatchObject({ contentSize: 4 << 20 });
    expect(made.size).toBeUndefined();
    expect(fs.readFileSync(out).equals(pseudoRandomBytes(3, 4 << 20))).toBe(true);
    const record = scratch.at("proof.record.json");
    await proofJson(disk, "--file", "usr/lib/large", "-o", proofFile, "--content", out, "--record", record);
    const recorded = JSON.parse(fs.readFileSync(record, "utf8"));
    expect(recorded).toMatchObject({ command: "verity proof", inputs: [{ name: disk }], outputs: [{ name: proofFile }, { name: out, size: 300_000 }] });
    const changed = fs.readFileSync(disk);
    const place = changed.indexOf(pseudoRandomBytes(3, 4096));
    changed[place] = (changed[place] ?? 0) ^ 1;
    const copy = scratch.write("changed.raw", changed);
    expectFailure(await here(["verity", "proof", copy, "--file", "usr/lib/noise", "--content", scratch.at("none")]), 2, /data block \d+ is not what/);
    expect(fs.existsSync(scratch.at("none"))).toBe(false);
  });
});

describe("a published disk behind HTTP", () => {
  let server: Server;
  let url: string;
  let bytes: Buffer;
  let etag = '"1"';
  beforeAll(async () => {
    bytes = fs.readFileSync(disk);
    server = createServer((request, response) => {
      const [, first = "0", last = "0"] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
      if (request.url === "/latest") return void response.writeHead(302, { location: "/disk.raw" }).end();
      const end = Math.min(bytes.length, Number(last) + 1);
      response.writeHead(206, { "content-range": `bytes ${first}-${end - 1}/${bytes.length}`, etag });
      response.end(bytes.subarray(Number(first), end));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  test("gives the proof that the disk itself gives, of a fraction of its bytes", async () => {
    await proofJson(disk, "--file", "/etc/os-release", "-o", proofFile);
    const made = await proofJson(`${url}/latest`, "--file", "/etc/os-release", "--root-hash", rootHash, "-o", scratch.at("remote.json"));
    expect(fs.readFileSync(scratch.at("remote.json")).equals(fs.readFileSync(proofFile))).toBe(true);
    expect(made.fetched.bytes).toBeLessThan(200_000);
    expect(made.fetched.bytes).toBeLessThan(bytes.length / 20);
    const read = await here(["verity", "proof", `${url}/disk.raw`, "--file", "etc/os-release", "--content", "-", "--root-hash", rootHash]);
    expect(read.stdout.toString()).toBe(osRelease);
    expect(read.stderr).toMatch(/bytes fetched in \d+ requests/);
  });

  test("that lies, or changes meanwhile, gives nothing", async () => {
    const held = bytes;
    const place = held.indexOf(osRelease);
    bytes = Buffer.from(held);
    bytes.write("ID=evil", place);
    const read = await here(["verity", "proof", `${url}/disk.raw`, "--file", "etc/os-release", "--content", scratch.at("evil"), "--root-hash", rootHash]);
    expectFailure(read, 2, /is not what the digest above it says/);
    expect(fs.existsSync(scratch.at("evil"))).toBe(false);
    bytes = held;
    let count = 0;
    const counting = (): void => {
      etag = `"${++count}"`;
    };
    server.on("request", counting);
    expectFailure(await here(["verity", "proof", `${url}/disk.raw`, "--file", "etc/os-release"]), 2, /changed while it was read/);
    server.off("request", counting);
    expectFailure(await here(["verity", "proof", "http://127.0.0.1:1/disk.raw", "--block", "0"]), 3, /127\.0\.0\.1/);
  });
});

describe("data and tree of veritysetup", () => {
  const [data, hash] = [scratch.at("data"), scratch.at("hash")];
  const contents = pseudoRandomBytes(7, 300 * 4096);
  const format = (tree: string): string => {
    const { stdout, stderr } = spawnSync("veritysetup", ["format", data, tree, "--salt", "a1", "--uuid", "01234567-89ab-cdef-0123-456789abcdef"], {
      encoding: "utf8",
    });
    return /^Root hash:\s+([0-9a-f]+)$/m.exec(stdout)?.[1] ?? stderr;
  };

  oracle("veritysetup")("blocks are proven by number and by range", async () => {
    fs.writeFileSync(data, contents);
    const root = format(hash);
    const made = await proofJson(data, hash, "--block", "299", "--range", "8191+2", "-o", proofFile);
    expect(made).toMatchObject({ rootHash: root, anchor: "tree", blocks: [1, 2, 299], hashBlocks: 3, dataBlocks: 300 });
    const out = await verify("--root-hash", root, "--data-blocks", "300", "--content", "-");
    expect(out.stdout.equals(Buffer.concat([contents.subarray(4096, 3 * 4096), contents.subarray(299 * 4096)]))).toBe(true);
  });

  oracle("veritysetup")("a tree is updated to what veritysetup formats, and it verifies that", async () => {
    fs.writeFileSync(data, contents);
    fs.writeFileSync(scratch.at("before"), contents);
    const root = format(hash);
    const now = Buffer.from(contents);
    now.fill(1, 5000, 5001);
    fs.writeFileSync(data, now);
    const run = (...args: string[]) => here(["verity", "reroot", data, hash, ...args]);
    const [fresh, record] = [scratch.at("new"), scratch.at("record.json")];
    const updated = json(await run(root, "--changed", "5000+1", "-o", fresh, "--record", record, "--json"));
    const expected = format(scratch.at("anew"));
    expect(updated).toMatchObject({ oldRootHash: root, rootHash: expected, dataBlocks: 1, hashBlocks: 2, hashDevice: fresh });
    expect(fs.readFileSync(fresh).equals(fs.readFileSync(scratch.at("anew")))).toBe(true);
    expect(JSON.parse(fs.readFileSync(record, "utf8"))).toMatchObject({
      command: "verity reroot",
      inputs: [{ name: data }, { name: hash }],
      outputs: [{ name: fresh }],
    });
    const before = fs.readFileSync(hash);
    expectFailure(await run("0".repeat(64), "--changed", "5000+1", "--in-place"), 2, /root hash/);
    expect(fs.readFileSync(hash).equals(before)).toBe(true);
    expect((await run(root, "--against", scratch.at("before"), "--in-place")).stdout.toString()).toBe(`${expected}\n`);
    execFileSync("veritysetup", ["verify", data, hash, expected]);
    fs.appendFileSync(data, Buffer.alloc(4096));
    expectFailure(await run(expected, "--changed", "0+1", "--in-place"), 2, /grown or shrunk/);
  });

  test.each<[args: string[], message: RegExp]>([
    [["proof", disk], /what to prove is not said/],
    [["proof", disk, "--file", "a", "--block", "1"], /said twice/],
    [["proof", disk, "--block", "x"], /number of a data block/],
    [["proof", disk, "--range", "5"], /OFFSET\+SIZE/],
    [["proof", disk, "--file", "a", "--content", "-", "-o", "-"], /both want standard output/],
    [["proof", disk, "--file", "a", "-o", proofFile, "--record", proofFile], /same file/],
    [["proof", "http://127.0.0.1:1/", "--block", "0", "--record", proofFile], /digest of the whole source/],
    [["proof", disk, "--file", "none"], /no such path/],
    [["proof", disk, "--file", "etc"], /not a regular file/],
    [["proof", disk, "--block", "999999999"], /no data block/],
    [["proof", "verify", proofFile], /no root hash/],
    [["reroot", disk, disk, "00", "--in-place"], /what was rewritten is not said/],
    [["reroot", disk, disk, "00", "--changed", "0+1"], /where the new tree goes/],
    [["reroot", disk, disk, "00", "--changed", "0+0", "--in-place"], /OFFSET\+SIZE/],
  ])("verity %j is refused", async (args, message) => {
    expectFailure(await here(["verity", ...args]), 2, message);
  });
});
