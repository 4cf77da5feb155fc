import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { epoch, expectFailure, here, json, Scratch } from "./cli.ts";

// The files of a disk, after its blocks were verified: held to their source, and to an mtree specification.

const scratch = new Scratch("verify-disk-files");
afterAll(() => scratch.remove());
const [tar, disk, mtree] = [scratch.at("in.tar"), scratch.at("disk.raw"), scratch.at("in.mtree")];
let rootHash: string;

beforeAll(async () => {
  await writeFixtureTar(tar);
  rootHash = json(await here(["disk", tar, ...epoch, "-o", disk, "--json"])).rootHash;
  expect(await here(["rootfs", tar, ...epoch, "-o", scratch.at("root.tar"), "--mtree", mtree])).toMatchObject({ code: 0 });
});

/** A copy of the tar with one thing changed by another tool. */
function changed(name: string, change: string): string {
  const folder = scratch.folder(`tree-${name}`);
  execFileSync("tar", ["--xattrs", "--xattrs-include=*", "-C", folder, "-xpf", tar]);
  execFileSync("sh", ["-ec", change], { cwd: folder });
  return folder;
}

describe("verify DISK --from SOURCE", () => {
  test("every file is that of the source; the root hash is an anchor beside it", async () => {
    const document = json(await here(["verify", disk, "--from", tar, "--root-hash", rootHash, ...epoch, "--json"]));
    expect(document).toMatchObject({ ok: true, kind: "disk", findings: [], files: { from: tar, epoch: 1_700_000_000, ok: true, differences: [] } });
    expect(document.anchor).toMatch(/^the given root hash, and .*in\.tar, whose files were made anew/);
    expect(document.files.entries).toBeGreaterThan(300);
    const { stdout } = await here(["verify", disk, "--from", tar, ...epoch]);
    expect(stdout.toString()).toMatch(/verified against .*in\.tar, whose files were made anew \(partition table and boot files are the publisher's word/);
  });

  test.each([
    ["content", "echo other >> etc/default/locale", /\/etc\/default\/locale: content is not that of /],
    ["mode", "chmod 600 etc/default/locale", /\/etc\/default\/locale: mode is not that of .*0?600/],
    ["name", "touch -d @0 etc/new", /\/etc\/new: missing, and in /],
    ["lack", "rm etc/default/locale", /\/etc\/default\/locale: not in /],
    ["target", "ln -sf elsewhere etc/default/locale", /\/etc\/default\/locale: /],
  ])("another %s is a finding that names the file", async (name, change, finding) => {
    // A folder's time changes with what is in it: only the named path is looked at.
    const result = await here(["verify", disk, "--from", changed(name, change), ...epoch]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(finding);
  });

  test("another epoch, or option, is another tree", async () => {
    const result = await here(["verify", disk, "--from", tar, "--epoch", "1600000000"]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/: mtime is not that of /);
    expect((await here(["verify", disk, "--from", tar, ...epoch, "--exclude", "etc/default/locale"])).stderr).toMatch(/\/etc\/default\/locale: not in /);
  });

  test("of a disk whose blocks are bad the files are not asked for", async () => {
    const bad = scratch.at("bad.raw");
    const bytes = fs.readFileSync(disk);
    const at = (1 << 20) + 70_000;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    fs.writeFileSync(bad, bytes);
    for (const option of [
      ["--from", tar, ...epoch],
      ["--mtree", mtree],
    ]) {
      const document = json(await here(["verify", bad, ...option, "--json"]), 1);
      expect(document).toMatchObject({ ok: false, kind: "disk", findings: [{ code: "DATA" }] });
      expect(document.files).toBeUndefined();
    }
  });

  test("several sources are refused, and a disk made with more than its source names what was added", async () => {
    expectFailure(await here(["verify", disk, "--from", tar, "--from", tar, ...epoch]), 2, /a disk's files come from one source/);
    const more = scratch.at("more.raw");
    expect(await here(["disk", tar, ...epoch, "--var", "16M", "-o", more])).toMatchObject({ code: 0 });
    expect((await here(["verify", more, "--from", tar, ...epoch])).stderr).toMatch(/\/etc\/fstab: /);
  });
});

describe("verify DISK --mtree FILE", () => {
  test("the files are as specified, and the root hash is an anchor beside it", async () => {
    expect(json(await here(["verify", disk, "--mtree", mtree, "--root-hash", rootHash, "--json"]))).toMatchObject({ ok: true, kind: "disk" });
    const { stdout } = await here(["verify", disk, "--mtree", mtree]);
    expect(stdout.toString()).toMatch(/verified against the given specification /);
  });

  test("a specification of another tree is not that of the disk", async () => {
    const other = scratch.write("other.mtree", fs.readFileSync(mtree, "utf8").replace(/sha256=[0-9a-f]{64}/, `sha256=${"0".repeat(64)}`));
    const result = await here(["verify", disk, "--mtree", other]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/sha256 differs/);
  });
});
