import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { gunzipSync } from "node:zlib";
import { buildImage, parsePlatform } from "@imgkit/oci";
import { createLayout } from "@imgkit/oci/node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

const scratch = new Scratch("layer");
const source = scratch.at("fixture.tar");
const out = scratch.at("layer.tar.gz");
const media = "application/vnd.oci.image.layer.v1.tar";
afterAll(() => scratch.remove());
beforeAll(() => writeFixtureTar(source));

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Runs `imgkit layer SOURCE -o layer.tar.gz --json` in this process; returns its document. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what the command printed, whatever that is
async function layer(args: readonly string[] = [], from = source): Promise<any> {
  return json(await here(["layer", from, "-o", out, ...epoch, "--json", ...args]));
}

describe("the same as others make of the same source", () => {
  test.each([
    ["gzip", []],
    ["none", []],
    ["gzip", ["--level", "fast"]],
    ["gzip", ["--profile", "debian", "--owner", "0:0", "--prefix", "opt/app", "--exclude", "**/doc"]],
  ])("the layer's blob that image writes: %s %j", async (compression, tree) => {
    const { output } = await layer(["--compression", compression, ...tree]);
    const layout = scratch.at(`oci ${compression} ${tree.length}`);
    const image = json(await here(["image", source, "-o", layout, ...epoch, "--json", "--compression", compression, ...tree]));
    const { path, ...described } = output;
    expect(image.layers).toEqual([described]);
    expect(Buffer.compare(fs.readFileSync(path), fs.readFileSync(`${layout}/blobs/sha256/${output.digest.slice(7)}`))).toBe(0);
  });

  test("with enough for several threads, too", async () => {
    const tree = scratch.folder("large");
    scratch.write("large/noise", pseudoRandomBytes(3, 12 << 20));
    scratch.write("large/text", "the same line again and again\n".repeat(300_000));
    const { output } = await layer([], tree);
    const image = json(await here(["image", tree, "-o", scratch.at("oci large"), ...epoch, "--json"]));
    expect(image.layers[0].digest).toBe(output.digest);
    expect(sha256(fs.readFileSync(out))).toBe(output.digest);
  });

  test("--compression none: the tar of rootfs", async () => {
    const { output } = await layer(["--compression", "none"]);
    const rootfs = json(await here(["rootfs", source, "-o", scratch.at("rootfs.tar"), ...epoch, "--json"]));
    const { digest, size } = rootfs.output;
    expect(output).toEqual({ path: out, mediaType: media, digest, size, diffId: digest, tarSize: size });
  });
});

oracleRoot("umoci").each(["fast", "default"])("Go's gzip, in umoci, reads a layer of several chunks, stored and packed, %s", async (level) => {
  const tree = scratch.folder("go");
  scratch.write("go/noise", pseudoRandomBytes(4, 3 << 20));
  scratch.write("go/text", Array.from({ length: 200_000 }, (_, i) => `${(i * 7919) % 9973} lines, of which this is ${i}\n`).join(""));
  scratch.write("go/zeros", new Uint8Array(5 << 20));
  const { output } = await layer(["--level", level], tree);
  const layout = await createLayout(scratch.at(`go-${level}`));
  await layout.blobs.put([fs.readFileSync(out)], output);
  const { mediaType, digest, size, diffId, tarSize } = output;
  const layers = [{ descriptor: { mediaType, digest, size }, diffId, tarSize }];
  const image = await buildImage(layout.blobs, { layers, platform: parsePlatform("linux/amd64"), epoch: Number(epoch[1]) });
  layout.add(image.descriptor, "go");
  await layout.commit();
  execFileSync("umoci", ["unpack", "--image", `${scratch.at(`go-${level}`)}:go`, scratch.at(`bundle-${level}`)]);
  for (const name of ["noise", "text", "zeros"]) {
    expect(fs.readFileSync(scratch.at(`bundle-${level}`, "rootfs", name)).equals(fs.readFileSync(scratch.at("go", name)))).toBe(true);
  }
});

describe("what is printed is what the file has", () => {
  oracle("gzip").each(["fast", "default"])("gzip -dc of it has the diff_id, %s", async (level) => {
    const { output } = await layer(["--level", level]);
    const blob = fs.readFileSync(out);
    const tar = execFileSync("gzip", ["-dc", out], { maxBuffer: 2 ** 28 });
    expect(output).toEqual({ path: out, mediaType: `${media}+gzip`, digest: sha256(blob), size: blob.length, diffId: sha256(tar), tarSize: tar.length });
  });

  test("the levels differ in bytes, not in the diff_id; no level is default", async () => {
    const fast = (await layer(["--level", "fast"])).output;
    const byDefault = (await layer(["--level", "default"])).output;
    expect(fast.diffId).toBe(byDefault.diffId);
    expect(fast.size).toBeGreaterThan(byDefault.size);
    expect((await layer()).output).toEqual(byDefault);
  });

  test("two lines for people, nothing with --quiet", async () => {
    const { output, entries } = await layer();
    const args = ["layer", source, "-o", out, ...epoch];
    const lines = `${output.digest}  ${out}  (${output.size} bytes, ${media}+gzip)\n  diff_id ${output.diffId} (${output.tarSize} bytes, ${entries} entries)\n`;
    expect(await here(args)).toMatchObject({ code: 0, stderr: "", stdout: Buffer.from(lines) });
    expect(await here([...args, "--quiet"])).toMatchObject({ code: 0, stderr: "", stdout: Buffer.alloc(0) });
  });

  test("to standard output, by the real command: the blob alone, the lines on standard error", async () => {
    const { output } = await layer();
    const result = await imgkit(["layer", "-", "-o", "-", ...epoch], { input: fs.createReadStream(source) });
    expect([result.code, sha256(result.stdout)]).toEqual([0, output.digest]);
    expect(sha256(gunzipSync(result.stdout))).toBe(output.diffId);
    expect(result.stderr).toContain(`imgkit: ${output.digest}  -  (`);
    expect(result.stderr).toContain(`diff_id ${output.diffId}`);
  });

  test("a record names source and blob", async () => {
    const record = scratch.at("record.json");
    const { output } = await layer(["--record", record]);
    expect(JSON.parse(fs.readFileSync(record, "utf8"))).toMatchObject({
      command: "layer",
      epoch: 1_700_000_000,
      inputs: [{ name: source, kind: "file", digest: sha256(fs.readFileSync(source)) }],
      outputs: [{ name: out, kind: "file", digest: output.digest, size: output.size }],
    });
  });
});

describe("what is refused leaves no file", () => {
  test.each<[args: string[], cause: RegExp]>([
    [["--compression", "zstd"], /Allowed choices are gzip, none/],
    [["--compression", "none", "--level", "fast"], /--level is of gzip/],
    [["--level", "9"], /Allowed choices are fast, default/],
    [["--record", scratch.at("refused")], /--record and the output are the same file/],
  ])("%j", async (args, cause) => {
    expectFailure(await here(["layer", source, "-o", scratch.at("refused"), ...epoch, ...args]), 2, cause);
    expect(fs.existsSync(scratch.at("refused"))).toBe(false);
  });

  test("no epoch", async () => {
    expectFailure(await here(["layer", source, "-o", scratch.at("refused")]), 2, /no epoch is given/);
  });

  test("--json and -o - at once", async () => {
    const result = await here(["layer", source, "-o", "-", "--json", ...epoch]);
    expect([result.code, result.stderr]).toEqual([2, expect.stringMatching(/both want standard output/)]);
  });

  test("a tar that ends in its middle", async () => {
    const cut = scratch.write("cut.tar", fs.readFileSync(source).subarray(0, 1_000_000));
    expectFailure(await here(["layer", cut, "-o", scratch.at("refused"), ...epoch]), 2, /cut\.tar/);
    expect(scratch.list().filter((name) => name.includes("refused"))).toEqual([]);
  });
});
