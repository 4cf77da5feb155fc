import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { oracle } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

// "Recomputed", not only "consistent": what was published is made anew from what it is said to come from.

const scratch = new Scratch("verify-from");
afterAll(() => scratch.remove());

const tar = scratch.at("in.tar");
const app = scratch.at("app");
const layout = scratch.at("oci");
const record = scratch.at("image.json");
beforeAll(async () => {
  await writeFixtureTar(tar);
  scratch.folder("app/opt");
  fs.writeFileSync(scratch.at("app/opt/app"), "#!/bin/sh\necho app\n", { mode: 0o755 });
  const image = ["image", tar, app, "-o", layout, "--tag", "app", ...epoch, "--owner", "0:0", "--cmd", "/opt/app", "--level", "fast", "--record", record];
  expect(await here(image)).toMatchObject({ code: 0 });
});

describe("an image from its sources", () => {
  const from = ["--from", tar, "--from", app, "--owner", "0:0"];

  test("each layer is recomputed, its level found; the epoch is the image's own", async () => {
    const document = json(await here(["verify", `${layout}:app`, ...from, "--json"]));
    expect(document).toMatchObject({ ok: true, kind: "layout", recomputed: { epoch: 1_700_000_000, epochFrom: "the image's config" } });
    expect(document.recomputed.from.map(({ ok, packing }: { ok: boolean; packing: string }) => [ok, packing])).toEqual([
      [true, "fast"],
      [true, "fast"],
    ]);
    expect(document.anchor).toMatch(/publisher's word$/);
    const { stdout } = await here(["verify", `${layout}:app`, ...from]);
    expect(stdout.toString()).toMatch(/recomputed from .*in\.tar \(tar\/1 in gzip\/1, fast\)\n/);
  });

  test("a source that changed by one byte, or another option, is a finding that names the layer", async () => {
    const other = scratch.folder("other/opt") && scratch.at("other");
    fs.writeFileSync(scratch.at("other/opt/app"), "#!/bin/sh\necho apq\n", { mode: 0o755 });
    for (const changed of [
      ["--from", tar, "--from", other, "--owner", "0:0"],
      ["--from", tar, "--from", app, "--owner", "1:0"],
      [...from, "--epoch", "1600000000"],
    ]) {
      const result = await here(["verify", `${layout}:app`, ...changed]);
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(/sha256:[0-9a-f]{64}: not what .* gives \(expected diff_id sha256:[0-9a-f]{64}, found sha256:[0-9a-f]{64}\)/);
      expect(result.stdout.toString()).toMatch(/NOT verified/);
    }
  });

  test("an image that is not even consistent is not recomputed", async () => {
    fs.cpSync(layout, scratch.at("broken"), { recursive: true });
    const { manifests } = JSON.parse(fs.readFileSync(scratch.at("broken/index.json"), "utf8"));
    fs.appendFileSync(scratch.at("broken/blobs/sha256", manifests[0].digest.slice(7)), " ");
    const document = json(await here(["verify", `${scratch.at("broken")}:app`, ...from, "--json"]), 1);
    expect(document).toMatchObject({ ok: false });
    expect(document.recomputed).toBeUndefined();
  });

  test("as many sources as layers are asked for", async () => {
    expectFailure(await here(["verify", `${layout}:app`, "--from", tar]), 2, /--from.*expected 2: one source for each layer.*found 1/);
  });

  oracle("umoci")("a layer that another tool packed: its tar is recomputed, its blob is not, and that is said", async () => {
    const theirs = scratch.at("theirs");
    execFileSync("umoci", ["init", "--layout", theirs]);
    execFileSync("umoci", ["new", "--image", `${theirs}:app`]);
    expect(await here(["rootfs", tar, ...epoch, "-o", scratch.at("plain.tar")])).toMatchObject({ code: 0 });
    execFileSync("umoci", ["raw", "add-layer", "--image", `${theirs}:app`, scratch.at("plain.tar")]);
    const result = await here(["verify", `oci:${theirs}:app`, "--from", tar, ...epoch]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/the tar in it was recomputed from .* \(diff_id sha256:[0-9a-f]{64}\), but it was packed by something else than gzip\/1/);
  });
});

describe("a tar from its source", () => {
  test("plain and packed, without a digest of its own", async () => {
    for (const [name, args] of [
      ["out.tar", ["rootfs", app]],
      ["out.tar.gz", ["layer", app]],
      ["fast.tar.gz", ["layer", app, "--level", "fast"]],
    ] as const) {
      expect(await here([...args, ...epoch, "-o", scratch.at(name)])).toMatchObject({ code: 0 });
      const document = json(await here(["verify", scratch.at(name), "--from", app, ...epoch, "--json"]));
      expect(document).toMatchObject({ ok: true, kind: "tar" });
      expect(json(await here(["verify", scratch.at(name), "--from", tar, ...epoch, "--json"]), 1)).toMatchObject({ ok: false });
    }
  });

  test("a zstd tar is refused: nobody promises those bytes", async () => {
    const packed = scratch.write("out.tar.zst", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0));
    expectFailure(await here(["verify", packed, "--from", app, ...epoch]), 2, /zstd cannot be recomputed/);
  });
});

describe("from the record of the run", () => {
  test("an image, settings included: the manifest's digest is made anew", async () => {
    const document = json(await here(["verify", `${layout}:app`, "--from", record, "--json"]));
    expect(document).toMatchObject({ ok: true, recomputed: { record, inputs: [] } });
    expect(document.recomputed.expected).toBe(document.recomputed.found);
    expect(fs.readdirSync(scratch.path).filter((name) => name.startsWith("imgkit-rerun"))).toEqual([]);
  });

  test("a tar with its mtree, and a disk; an epoch that came from the environment", async () => {
    const [out, mtree, disk] = [scratch.at("r.tar"), scratch.at("r.mtree"), scratch.at("r.raw")];
    const [first, second] = [scratch.at("r1.json"), scratch.at("r2.json")];
    const env = { SOURCE_DATE_EPOCH: "1700000000" };
    expect(await here(["rootfs", app, "-o", out, `--mtree=${mtree}`, "--record", first], { env })).toMatchObject({ code: 0 });
    expect(await here(["disk", app, "-o", disk, "--record", second], { env })).toMatchObject({ code: 0 });
    const before = fs.statSync(mtree);
    expect(json(await here(["verify", out, "--from", first, "--json"]))).toMatchObject({ ok: true });
    expect(json(await here(["verify", disk, "--from", second, "--json"]))).toMatchObject({ ok: true, kind: "disk" });
    // Nothing of the first run was written again.
    expect(fs.statSync(mtree)).toMatchObject({ mtimeMs: before.mtimeMs, ino: before.ino });
  });

  test("an input that changed since is named", async () => {
    const folder = scratch.folder("moving");
    fs.writeFileSync(scratch.at("moving/file"), "one");
    const [out, about] = [scratch.at("moving.tar"), scratch.at("moving.json")];
    expect(await here(["rootfs", folder, ...epoch, "-o", out, "--record", about])).toMatchObject({ code: 0 });
    fs.writeFileSync(scratch.at("moving/file"), "two");
    const result = await here(["verify", out, "--from", about]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/not what the recorded command gives/);
    expect(result.stderr).toMatch(/the input .*moving is not the one that was recorded \(expected sha256:/);
  });

  test("a record of another command, a broken one, and one whose run fails are refused", async () => {
    const whole = JSON.parse(fs.readFileSync(record, "utf8"));
    const altered = (change: object): string => scratch.write("altered.json", JSON.stringify({ ...whole, ...change }));
    const cases: readonly (readonly [object, RegExp])[] = [
      [{ command: "verity format", arguments: ["verity", "format"] }, /a record of a command whose output is no tar, image or disk/],
      [{ command: "image", arguments: ["rootfs", tar] }, /a record of a command whose output is no tar/],
      [{ arguments: "image" }, /\$\.arguments/],
      [{ inputs: [{}] }, /\$\.inputs\[0\]\.size/],
    ];
    for (const [change, cause] of cases) expectFailure(await here(["verify", `${layout}:app`, "--from", altered(change)]), 2, cause);
    const gone = altered({ arguments: ["image", scratch.at("gone.tar"), "-o", "x"] });
    const result = await here(["verify", `${layout}:app`, "--from", gone]);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/gone\.tar.*\n.*could not be made anew/s);
    expect(fs.existsSync("x")).toBe(false);
  });

  test("the real command says what its verdict rests on", async () => {
    const { code, stdout } = await imgkit(["verify", `${layout}:app`, "--from", record]);
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(/verified against the record .*image\.json, whose command was run again and gave the same bytes\n$/);
  });
});
