import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { gnuTar135, oracle, oracleRoot } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

// imgkit diff, ls, cat and extract: what they print, their exit codes, and the same X in every form.

const scratch = new Scratch("diff");
const tar = scratch.at("fixture.tar");
afterAll(() => scratch.remove());

beforeAll(async () => {
  await writeFixtureTar(tar);
  scratch.folder("small/etc");
  scratch.write("small/etc/motd", "Built 2023-11-14\n");
  scratch.write("small/etc/same", "same\n");
  fs.symlinkSync("etc", scratch.at("small/link"));
  scratch.folder("other");
  fs.cpSync(scratch.at("small"), scratch.at("other"), { recursive: true, verbatimSymlinks: true });
  scratch.write("other/etc/motd", "Built 2023-12-24\n");
  scratch.write("other/etc/new", "");
  fs.chmodSync(scratch.at("small/etc/motd"), 0o644);
  fs.chmodSync(scratch.at("other/etc/motd"), 0o600);
  for (const name of ["small", "other"]) {
    const made = await here(["rootfs", scratch.at(name), "-o", scratch.at(`${name}.tar`), "--epoch", "1000000000", "--times", "set", "--owner", "0:0", "-q"]);
    expect(made).toMatchObject({ code: 0, stderr: "" });
  }
});

const small = scratch.at("small.tar");
const other = scratch.at("other.tar");

describe("diff", () => {
  test("equal is exit code 0 and one line", async () => {
    const result = await here(["diff", small, small]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.toString()).toBe(`${small} and ${small}: equal\n`);
  });

  test("differences are exit code 1: causes first, then what makes them equal", async () => {
    const result = await imgkit(["diff", "small.tar", "other.tar", "--content"], { cwd: scratch.path });
    expect(result).toMatchObject({ code: 1, stderr: "" });
    expect(result.stdout.toString()).toBe(`small.tar and other.tar: 3 differences of 3 causes

1 × permission bits that a umask took away on one side [umask]
  /etc/motd: mode 0644 and 0600

1 × paths that only one side has [one-side-only]
  /etc/new: a file only in the second

1 × dates or times in text [embedded-date]
  /etc/motd: line 1: "Built 2023-11-14" and "Built 2023-12-24" (from byte 12 on)
    42 75 69 6c 74 20 32 30 32 33 2d 31 31 2d 31 34  Built 2023-11-14
    42 75 69 6c 74 20 32 30 32 33 2d 31 32 2d 32 34  Built 2023-12-24

what makes them equal:
  permission bits that a umask took away on one side: Set umask 022 before the build, or use --apply-mtree FILE.
  paths that only one side has: Look at the step that makes them, or at the list of packages.
  dates or times in text: Set SOURCE_DATE_EPOCH for the tool that writes it (__DATE__, pod2man, sphinx, doxygen, javadoc …).
`);
  });

  test("--json: the same as one document", async () => {
    const document = json(await here(["diff", small, other, "--json", "--content"]), 1);
    expect(document).toMatchObject({ command: "diff", a: small, b: other, equal: false, verdict: "different", archive: [], findings: { a: [], b: [] } });
    expect(document.causes.map(({ code, count }: { code: string; count: number }) => [code, count])).toEqual([
      ["umask", 1],
      ["one-side-only", 1],
      ["embedded-date", 1],
    ]);
    expect(document.differences).toEqual([
      { path: "/etc/motd", kind: "mode", a: 0o644, b: 0o600, causes: [{ code: "umask", detail: "mode 0644 and 0600" }] },
      {
        path: "/etc/motd",
        kind: "content",
        a: 17,
        b: 17,
        offset: 12,
        bytes: [Buffer.from("Built 2023-11-14").toString("hex"), Buffer.from("Built 2023-12-24").toString("hex")],
        causes: [{ code: "embedded-date", detail: expect.stringMatching(/^line 1: /) }],
      },
      { path: "/etc/new", kind: "only-in-b", type: "file", causes: [{ code: "one-side-only", detail: "a file only in the second" }] },
    ]);
  });

  test("times: the epoch that makes them equal does", async () => {
    const set = (name: string, time: number): string => {
      fs.utimesSync(scratch.at("other/etc/same"), time, time);
      execFileSync("tar", ["-C", scratch.at("other"), "--sort=name", "--owner=0", "--group=0", "-cf", scratch.at(name), "."]);
      return scratch.at(name);
    };
    const [a, b] = [set("early.tar", 1_600_000_000), set("late.tar", 1_600_000_007)];
    const { clampEpoch, causes } = json(await here(["diff", a, b, "--json"]), 1);
    expect(causes).toMatchObject([{ code: "time", count: 1 }]);
    for (const name of [a, b]) await here(["rootfs", name, "-o", `${name}.clamped`, "--epoch", String(clampEpoch), "-q"]);
    expect(json(await here(["diff", `${a}.clamped`, `${b}.clamped`, "--json"])).verdict).toBe("equal");
  });

  test("only the first five paths of a cause are listed, unless all are asked for", async () => {
    const changed = scratch.at("owners.tar");
    await here(["rootfs", tar, "-o", changed, "--epoch", "8589934591", "--owner", "7:7", "-q"]);
    const text = async (...more: string[]): Promise<string> => (await here(["diff", tar, changed, ...more])).stdout.toString();
    expect(await text()).toMatch(/\n {2}… and \d+ more \(--all lists them\)\n/);
    expect(await text("--all")).not.toMatch(/--all/);
    expect((await text("--all")).split("\n").length).toBeGreaterThan(400);
  });

  test("the same tar in another compression", async () => {
    const gz = scratch.write("small.tar.gz", gzipSync(fs.readFileSync(small)));
    const document = json(await here(["diff", small, gz, "--json"]), 1);
    expect(document).toMatchObject({ verdict: "same tar, other compression", differences: [], archive: [{ code: "tar-compression" }] });
    const level = gzipSync(fs.readFileSync(small), { level: 1 });
    level[4] = 9;
    const both = json(await here(["diff", gz, scratch.write("fast.tar.gz", level), "--json"]), 1);
    expect(both.archive.map(({ code }: { code: string }) => code)).toEqual(["tar-compression", "gzip-time", "gzip-writer"]);
  });

  oracle("bsdtar")("the same tree from another builder of tars", async () => {
    const made = scratch.at("bsd.tar");
    execFileSync("bsdtar", ["-cf", made, `@${small}`]);
    const document = json(await here(["diff", small, made, "--json"]), 1);
    expect(document).toMatchObject({ verdict: "same tree, other bytes", differences: [] });
    expect(document.archive.length).toBeGreaterThan(0);
    expect(document.archive.map(({ code }: { code: string }) => code)).not.toContain("tar-unknown");
    expect((await here(["diff", small, made])).stdout.toString()).toMatch(/: same tree, other bytes\n\nthe archives themselves:\n/);
  });

  test("one tree as a tar, from standard input, as an image and as a disk: equal", async () => {
    const [layout, disk] = [scratch.at("layout"), scratch.at("disk.raw")];
    for (const args of [
      ["image", tar, "-o", layout, "--tag", "t"],
      ["disk", tar, "-o", disk],
    ]) {
      expect(await here([...args, "--epoch", "8589934591", "-q"])).toMatchObject({ code: 0, stderr: "" });
    }
    const clamped = scratch.at("clamped.tar");
    await here(["rootfs", tar, "-o", clamped, "--epoch", "8589934591", "-q"]);
    for (const x of [`oci:${layout}:t`, layout, disk]) expect(json(await here(["diff", clamped, x, "--json"])).verdict).toBe("equal");
    expect((await here(["diff", "-", disk, "-q"], { input: fs.readFileSync(clamped) })).code).toBe(0);
  });

  test("wrong usage and bad input are exit code 2", async () => {
    expectFailure(await here(["diff", "-", "-"]), 2, /only one of the two can be standard input/);
    expectFailure(await here(["diff", small, scratch.at("missing")]), 2, /missing: no such file/);
    expectFailure(await here(["diff", small, scratch.write("text", "no tar\n")]), 2, /text/);
    expectFailure(await here(["diff", small, "docker-daemon:debian"]), 2, /docker-daemon:debian/);
  });

  test("a stranger's names and texts cannot move the cursor", async () => {
    const folder = scratch.folder("hostile");
    scratch.write("hostile/\u001b[2Jname\n", "made 2023-11-14 \u001b[31m");
    await here(["rootfs", folder, "-o", scratch.at("h1.tar"), ...epoch, "-q"]);
    scratch.write("hostile/\u001b[2Jname\n", "made 2023-12-24 \u001b[31m");
    await here(["rootfs", folder, "-o", scratch.at("h2.tar"), ...epoch, "-q"]);
    for (const args of [
      ["diff", scratch.at("h1.tar"), scratch.at("h2.tar"), "--content"],
      ["ls", "-lR", scratch.at("h1.tar")],
    ]) {
      expect((await here(args)).stdout.toString()).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    }
  });
});

describe("ls", () => {
  oracle("tar")("-lR: the facts that GNU tar -tv prints", async () => {
    const [command = "tar", ...before] = gnuTar135() ?? ["tar"];
    const made = scratch.at("facts.tar");
    // GNU tar quotes what is no plain name in its listing, and has fractions of seconds before 1970 upside down.
    await here(["rootfs", tar, "-o", made, ...epoch, "-q", "--exclude", "srv/names", "--exclude", "srv/times/1911", "--exclude", "srv/times/before-1970"]);
    const args = [...before, "-tvf", made, "--numeric-owner", "--utc", "--full-time", "--quoting-style=literal"];
    const theirs = execFileSync(command, args, { encoding: "utf8", env: { ...process.env, LC_ALL: "C" }, stdio: ["ignore", "pipe", "ignore"] });
    const ours = (await here(["ls", "-lR", made])).stdout.toString();
    const words = (line: string): string => line.split(/ +/).join(" ");
    const expected = theirs
      .trimEnd()
      .split("\n")
      .map((line) =>
        words(line)
          .replace(/(\d\d:\d\d:\d\d)(?:\.\d+)? \.\/?/, "$1 /")
          .replace(" link to ./", " link to /")
          .replace(/^(d.*[^ ])\/$/, "$1"),
      );
    expect(ours.trimEnd().split("\n").map(words)).toEqual(expected);
  });

  test.each([
    [
      ["ls", small],
      ["/etc", "/link"],
    ],
    [
      ["ls", small, "/etc/"],
      ["/etc/motd", "/etc/same"],
    ],
    [["ls", small, "etc/motd"], ["/etc/motd"]],
    [
      ["ls", "-R", small, "etc"],
      ["/etc", "/etc/motd", "/etc/same"],
    ],
    [["ls", "-l", small, "link"], ["lrwxrwxrwx 0/0 0 2001-09-09 01:46:40 /link -> etc"]],
  ])("%j", async (args, expected) => {
    const result = await here(args);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.toString()).toBe(`${expected.join("\n")}\n`);
  });

  test("--json has every fact of a node", async () => {
    const { entries } = json(await here(["ls", tar, "usr/bin/ping", "--json"]));
    expect(entries).toEqual([
      {
        path: "/usr/bin/ping",
        type: "file",
        mode: "0755",
        uid: 0,
        gid: 0,
        mtime: expect.stringMatching(/^\d+$/),
        size: 9000,
        xattrs: { "security.capability": expect.stringMatching(/^[0-9a-f]{40}$/) },
      },
    ]);
    const nodes = json(await here(["ls", tar, "srv/nodes", "--json"])).entries;
    expect(nodes.find(({ path }: { path: string }) => path === "/srv/nodes/zero")).toMatchObject({ type: "char", major: 1, minor: 5 });
  });

  test("a path that is not there", async () => {
    expectFailure(await here(["ls", small, "etc/nothing"]), 2, /\/etc\/nothing: no such path.*imgkit ls X \/etc/);
    expectFailure(await here(["ls", small, "link/motd"]), 2, /a symbolic link stands in the way .*\/link leads to etc/);
  });
});

describe("cat", () => {
  test("is byte for byte", async () => {
    const result = await imgkit(["cat", tar, "srv/sizes/1048577"]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    const folder = scratch.at("cat");
    await here(["extract", tar, folder, "srv/sizes/1048577", "-q"]);
    expect(result.stdout.equals(fs.readFileSync(`${folder}/srv/sizes/1048577`))).toBe(true);
  });

  test("follows links only when told to, and a hard link is a file", async () => {
    expect((await here(["cat", "--follow", small, "link/motd"])).stdout.toString()).toBe("Built 2023-11-14\n");
    expectFailure(await here(["cat", small, "link/motd"]), 2, /--follow/);
    expectFailure(await here(["cat", small, "link"]), 2, /a symbolic link, not a file.*Add --follow/);
    const [one, two] = [await here(["cat", tar, "usr/bin/perl"]), await here(["cat", tar, "opt/perl"])];
    expect(one.stdout.equals(two.stdout)).toBe(true);
  });

  test("what is no file says what to do", async () => {
    expectFailure(await here(["cat", small, "etc"]), 2, /\/etc: a directory, not a file. List it: imgkit ls .*small\.tar \/etc$/m);
    expectFailure(await here(["cat", tar, "srv/nodes/fifo"]), 2, /a fifo, not a file/);
    expectFailure(await here(["cat", small, "etc/nothing"]), 2, /no such path/);
  });
});

describe("extract", () => {
  oracleRoot("getfattr", "setfattr")("then diff: the tree is equal, from a tar, a layout and a disk", async () => {
    for (const [i, x] of [tar, scratch.at("layout"), scratch.at("disk.raw")].entries()) {
      const folder = scratch.at(`extracted-${i}`);
      expect(await here(["extract", x, folder, "-q"])).toMatchObject({ code: 0, stderr: "" });
      expect((await here(["diff", x, folder])).stdout.toString()).toBe(`${x} and ${folder}: equal\n`);
    }
  });

  test("some paths, and what was done as JSON", async () => {
    const folder = scratch.at("some");
    const document = json(await here(["extract", small, folder, "/etc/motd", "--json"]));
    expect(document).toMatchObject({ command: "extract", target: small, folder, bytes: 17, findings: [] });
    expect(execFileSync("find", [".", "-type", "f"], { cwd: folder, encoding: "utf8" })).toBe("./etc/motd\n");
  });

  oracleRoot("setpriv")("--no-same-owner and --no-devices, as root", async () => {
    const folder = scratch.at("mine");
    const result = await here(["extract", tar, folder, "--no-same-owner", "--no-devices"]);
    expect(result.code).toBe(0);
    expect(result.stderr).toMatch(/owners were left out/);
    expect(result.stderr).toMatch(/\/dev\/console: a device was left out/);
    expect(execFileSync("find", [folder, "-not", "-uid", "0", "-o", "-type", "b", "-o", "-type", "c"], { encoding: "utf8" })).toBe("");
  });

  test("nothing is replaced and no link followed", async () => {
    const folder = scratch.folder("target");
    const outside = scratch.folder("outside");
    fs.symlinkSync(outside, `${folder}/etc`);
    expectFailure(await imgkit(["extract", small, folder]), 2, /target\/etc: something stands there already .*a symbolic link/);
    expect(fs.readdirSync(outside)).toEqual([]);
    expect(fs.readdirSync(folder)).toEqual(["etc"]);
  });

  test("a path that is not there, a folder that cannot be: exit code 2 and nothing written", async () => {
    expectFailure(await here(["extract", small, scratch.at("none"), "nothing"]), 2, /\/nothing: there is no such path/);
    expectFailure(await here(["extract", small, scratch.at("no/such/folder")]), 2, /folder does not exist/);
    expect(fs.existsSync(scratch.at("none"))).toBe(false);
  });
});

describe("an image of several layers", () => {
  test("is what its layers put together: its sources, one over the other", async () => {
    const layout = scratch.at("layers");
    await here(["image", small, other, "-o", layout, ...epoch, "-q"]);
    const flat = scratch.at("flat.tar");
    await here(["rootfs", small, "--overlay", other, "-o", flat, ...epoch, "-q"]);
    expect((await here(["diff", `oci:${layout}`, flat])).code).toBe(0);
    expect((await here(["ls", `oci:${layout}`])).stdout.toString()).toBe((await here(["ls", flat])).stdout.toString());
    const again = scratch.at("again.tar");
    await here(["rootfs", `oci:${layout}`, "-o", again, ...epoch, "-q"]);
    expect(fs.readFileSync(again).equals(fs.readFileSync(flat))).toBe(true);
  });

  test("with a changed layer: exit code 2, and the layer named", async () => {
    const layout = scratch.at("damaged");
    const { layers } = JSON.parse((await here(["image", small, other, "-o", layout, ...epoch, "--compression", "none", "--json"])).stdout.toString());
    const blob = `${layout}/blobs/sha256/${layers[1].digest.slice(7)}`;
    const bytes = fs.readFileSync(blob);
    bytes[600] = (bytes[600] ?? 0) ^ 1;
    fs.writeFileSync(blob, bytes);
    expectFailure(await here(["ls", layout]), 2, new RegExp(`${layers[1].digest}.*not what its descriptor says`));
  });
});
