import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, imgkit, type Result, Scratch } from "./cli.ts";

// Whatever is wrong with a command line or an input: one line that names the cause, exit code 2, and no output.

const scratch = new Scratch("bad-input");
afterAll(() => scratch.remove());

/** A tar of one file of 3,000 bytes and one symlink: headers at 0, 512, and, behind the content, at 4096. */
let tar: Buffer;
let zeroBlocks: Buffer;

beforeAll(async () => {
  scratch.folder("tree");
  scratch.write("tree/file", "content\n".repeat(375));
  fs.symlinkSync("file", scratch.at("tree/link"));
  const made = await imgkit(["rootfs", scratch.at("tree"), ...epoch, "-o", "-", "--quiet"]);
  expect(made.code).toBe(0);
  tar = made.stdout;
  zeroBlocks = Buffer.alloc(1024);
  scratch.write("good.tar", tar);
  scratch.write("empty.tar", zeroBlocks);
  scratch.write("no-bytes.tar", "");
});

type Runner = (args: readonly string[]) => Promise<Result>;
/** The real command, as a process of its own. */
const real: Runner = (args) => imgkit(args);
/** Hands the command its standard input, in this process. */
const fed =
  (input: Uint8Array): Runner =>
  (args) =>
    here(args, { input });

/**
 * Runs a command line that must fail and holds it to what a failure owes; returns its JSON error. The word `out…` becomes a path
 * in an empty folder, where nothing may stand afterwards. Where a table is long, all but one of it run in this process.
 */
async function fails(args: readonly string[], code: 2 | 3, cause: RegExp, runner: Runner = here): Promise<{ code: string; message: string }> {
  const folder = fs.mkdtempSync(scratch.at("run-"));
  const result = await runner([...args.map((word) => word.replace(/^out(?=$|[.:/])/, `${folder}/out`)), "--json"]);
  expectFailure(result, code, cause);
  expect(fs.readdirSync(folder)).toEqual([]);
  const document = JSON.parse(result.stdout.toString());
  expect(document).toEqual({ error: { code: expect.stringMatching(/^[A-Z][A-Z0-9_]+$/), message: expect.any(String) } });
  expect(result.stderr).toBe(`imgkit: ${document.error.message}\n`);
  return document.error;
}

describe("wrong usage is exit code 2 and one line that names the cause", () => {
  const source = scratch.at("good.tar");
  const rootfs = (...more: string[]): string[] => ["rootfs", source, "-o", "out.tar", ...epoch, ...more];
  const disk = (...more: string[]): string[] => ["disk", source, "-o", "out.raw", ...epoch, ...more];
  const image = (...more: string[]): string[] => ["image", source, "-o", "out", ...epoch, ...more];
  const verity = (...more: string[]): string[] => ["verity", "format", source, "out.verity", ...more];
  const hash = "0".repeat(64);

  test.each<[what: string, args: string[], cause: RegExp]>([
    ["an unknown command", ["nosuch"], /unknown command 'nosuch'/],
    ["a command with a slip in it", ["rootf"], /unknown command 'rootf'.*rootfs/],
    ["an unknown action of verity", ["verity", "open"], /unknown command 'open'/],
    ["no source", ["rootfs", "-o", "out.tar", ...epoch], /missing required argument 'source'/],
    ["no output", ["rootfs", source, ...epoch], /--output/],
    ["an argument too many", rootfs("more"), /too many arguments/],
    ["an unknown flag", rootfs("--frobnicate"), /unknown option '--frobnicate'/],
    ["a flag with a slip in it", rootfs("--xattr-includ", "x"), /unknown option '--xattr-includ'.*--xattr-include/],
    ["a profile that is none", rootfs("--profile", "slackware"), /--profile.*slackware.*debian/],
    ["a policy for times that is none", rootfs("--times", "now"), /--times.*now.*clamp/],
    ["an owner by name", rootfs("--owner", "root:root"), /--owner.*root:root/],
    ["an owner above 32 bits", rootfs("--owner", "4294967296:0"), /--owner.*4294967296/],
    ["--json and a tar both for standard output", ["rootfs", source, ...epoch, "-o", "-"], /standard output/],
    ["a source of another tool", ["rootfs", "containers-storage:debian", ...epoch, "-o", "out.tar"], /containers-storage:debian.*a directory, a tar/],
    ["an mmdebstrap: without a suite", ["rootfs", "mmdebstrap:", ...epoch, "-o", "out.tar"], /suite/],
    ["an mmdebstrap: with a key that is none", ["rootfs", "mmdebstrap:bookworm?hook=id", ...epoch, "-o", "out.tar"], /hook/],
    ["a seed that is no UUID", disk("--seed", "abc"), /UUID.*abc/],
    ["an architecture that is none", disk("--arch", "vax"), /--arch.*vax/],
    ["a sector size that is none", disk("--sector-size", "1000"), /--sector-size.*1000/],
    ["a platform that is none", image("--platform", "linux"), /platform.*linux/],
    ["a compression that is none", image("--compression", "lzma"), /--compression.*lzma/],
    ["a tag with a blank", image("--tag", "a b"), /tag.*a b/],
    ["two tags", ["image", source, "-o", "out:one", "--tag", "two", ...epoch], /one.*two/],
    ["a label without a value", image("--label", "key"), /--label.*key/],
    ["an annotation without a key", image("--annotation", "=value"), /--annotation.*=value/],
    ["an entrypoint that is broken JSON", image("--entrypoint", '["a"'), /--entrypoint.*\["a"/],
    ["an environment variable without a name", image("--env", "=x"), /=x/],
    ["a port that is none", image("--expose", "http"), /http/],
    ["a hash that is none", verity("--hash", "md4"), /md4/],
    ["a salt that is no hexadecimal", verity("--salt", "xyz"), /--salt.*xyz/],
    ["a block size that is none", verity("--data-block-size", "1000"), /1000/],
    ["a number of blocks that is none", verity("--data-blocks", "-1"), /--data-blocks.*-1/],
    ["more blocks than there are", verity("--data-blocks", "1000"), /good\.tar.*at most 2 blocks of 4096 bytes in 10240 bytes, found 1000/],
    ["a verity UUID that is none", verity("--uuid", "abc", "--data-blocks", "2"), /abc/],
    ["a root hash that is none", ["verity", "verify", source, source, "xyz"], /root hash.*xyz/],
    ["no root hash", ["verity", "verify", source, source], /no root hash/],
    ["two root hashes", ["verity", "verify", source, source, hash, "--root-hash-file", source], /root hash.*twice/],
    ["a digest that is none", ["verify", source, "--digest", "md5:00"], /--digest.*md5:00/],
    ["a tar without a digest to hold it to", ["verify", source], /--digest/],
    ["a root hash for a tar", ["verify", source, "--root-hash", hash], /--root-hash.*tar/],
    ["a digest for a disk", ["verify", source, "--as", "disk", "--digest", `sha256:${hash}`], /--digest.*disk/],
    ["a disk's root hash that is none", ["verify", source, "--as", "disk", "--root-hash", "xyz"], /xyz/],
    ["a kind that is none", ["verify", source, "--as", "zip"], /--as.*zip/],
  ])("%s", async (_, args, cause) => {
    await fails(args, 2, cause);
  });

  test.each<[what: string, args: string[], cause: RegExp]>([
    ["no epoch", ["rootfs", source, "-o", scratch.at("out.tar")], /no epoch/],
    ["verity without an action", ["verity"], /no command is given/],
    ["help of an unknown command", ["help", "nosuch"], /none that imgkit has/],
    ["a flag that lacks its value", ["disk", source, "-o", scratch.at("out.raw"), "--seed"], /--seed.*argument missing/],
    ["a shell that is none", ["completion", "tcsh"], /tcsh.*bash, zsh, fish/],
  ])("without --json nothing is printed to standard output: %s", async (_, args, cause) => {
    const result = await imgkit(args);
    expectFailure(result, 2, cause);
    expect(result.stdout.length).toBe(0);
  });

  test("the real command does as the one in this process", async () => {
    await fails(["rootfs", source, "-o", "out.tar", ...epoch, "--frobnicate"], 2, /unknown option '--frobnicate'/, real);
  });

  test.each([[["help"]], [["help", "rootfs"]], [["verity", "help", "format"]], [["gpt", "show", "--help"]]])(
    "help that was asked for is no failure: %j",
    async (args) => {
      const { code, stdout, stderr } = await imgkit(args);
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout.toString()).toMatch(/^Usage: imgkit/);
    },
  );

  test("nothing at all prints the help to standard error", async () => {
    const result = await imgkit([]);
    expect(result).toMatchObject({ code: 2, stderr: expect.stringMatching(/^Usage: imgkit /) });
    expect(result.stdout.length).toBe(0);
  });
});

describe("the epoch", () => {
  const digestAt = async (args: string[], env: Record<string, string> = {}): Promise<string> => {
    const result = await imgkit(["rootfs", scratch.at("tree"), "-o", "-", "-q", ...args], { env });
    expect(result).toMatchObject({ code: 0, stderr: "" });
    return result.stdout.toString("latin1");
  };

  test.each([
    ["rootfs", "out.tar"],
    ["image", "out"],
    ["disk", "out.raw"],
  ])("%s without one stops and says how to give one", async (name, output) => {
    const error = await fails([name, scratch.at("good.tar"), "-o", output], 2, /no epoch.*--epoch.*SOURCE_DATE_EPOCH/, real);
    expect(error.code).toBe("NO_EPOCH");
  });

  test("an empty SOURCE_DATE_EPOCH is none", async () => {
    await fails(["rootfs", scratch.at("good.tar"), "-o", "out.tar"], 2, /no epoch/, (args) => imgkit(args, { env: { SOURCE_DATE_EPOCH: "" } }));
  });

  test("SOURCE_DATE_EPOCH is used, and --epoch wins over it", async () => {
    const early = await digestAt(["--epoch", "1000000000"]);
    expect(await digestAt([], { SOURCE_DATE_EPOCH: "1000000000" })).toBe(early);
    expect(await digestAt(["--epoch", "1000000000"], { SOURCE_DATE_EPOCH: "5" })).toBe(early);
    expect(await digestAt([], { SOURCE_DATE_EPOCH: "5" })).not.toBe(early);
  });

  test.each(["now", "-1", "1.5", "0x10", "1e9", " 1", "1700000000\n", "99999999999999999999", "٣"])("%j is none", async (text) => {
    expect((await fails(["rootfs", scratch.at("good.tar"), "-o", "out.tar", `--epoch=${text}`], 2, /epoch/)).code).toBe("BAD_EPOCH");
    await fails(["rootfs", scratch.at("good.tar"), "-o", "out.tar"], 2, /epoch/, (args) => here(args, { env: { SOURCE_DATE_EPOCH: text } }));
  });
});

describe("a source that is none", () => {
  const kinds = [
    ["rootfs", "out.tar"],
    ["image", "out"],
    ["disk", "out.raw"],
  ] as const;

  test.each(kinds)("%s: a path that does not exist", async (name, output) => {
    await fails([name, scratch.at("nowhere"), "-o", output, ...epoch], 2, /nowhere: no such file or directory/, real);
    await fails([name, scratch.at("good.tar", "below"), "-o", output, ...epoch], 2, /good\.tar\/below: no such file or directory/);
  });

  test.each(kinds)("%s: a tar of no bytes", async (name, output) => {
    await fails([name, scratch.at("no-bytes.tar"), "-o", output, ...epoch], 2, /no-bytes\.tar: an empty file is no tar/, real);
    await fails([name, "-", "-o", output, ...epoch], 2, /standard input: an empty file is no tar/, real);
  });

  test.each(kinds)("%s: two blocks of zeros are an empty tar, and no error", async (name, output) => {
    for (const [source, input] of [[scratch.at("empty.tar"), undefined] as const, ["-", zeroBlocks] as const]) {
      const cwd = fs.mkdtempSync(scratch.at("run-"));
      const result = await imgkit([name, source, "-o", output, ...epoch], { cwd, ...(input === undefined ? {} : { input }) });
      expect(result).toMatchObject({ code: 0, stderr: "" });
      expect(fs.readdirSync(cwd)).toEqual([output]);
    }
  });

  test("a file that is no tar", async () => {
    await fails(["rootfs", scratch.write("text", "no tar at all\n".repeat(100)), "-o", "out.tar", ...epoch], 2, /text: .*tar/);
  });

  test.each(["/dev/null", "/dev/zero"])("%s, which has no size", async (path) => {
    await fails(["rootfs", path, "-o", "out.tar", ...epoch], 2, new RegExp(`${path}: `));
  });

  oracle("mkfifo")("a fifo that nobody writes to is refused, not waited for", async () => {
    execFileSync("mkfifo", [scratch.at("fifo")]);
    await fails(["rootfs", scratch.at("fifo"), "-o", "out.tar", ...epoch], 2, /fifo: not a regular file/, real);
  });

  oracleRoot("setpriv")("a file that may not be read", async () => {
    fs.chmodSync(scratch.path, 0o755);
    fs.chmodSync(scratch.write("secret.tar", tar), 0o600);
    const result = await imgkit(["rootfs", scratch.at("secret.tar"), "-o", "-", ...epoch], {
      prefix: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    });
    expectFailure(result, 3, /secret\.tar: .*permission denied/);
  });

  test("a file system that is larger than the file it stands in", async () => {
    const image = Buffer.alloc(96);
    image.writeUInt32LE(0x7371_7368, 0);
    image.writeBigUInt64LE(1n << 30n, 40);
    await fails(["disk", scratch.write("short.squashfs", image), "-o", "out.raw"], 2, /squashfs.*larger than the file.*1073741824.*96/);
  });
});

describe("a source that was cut short", () => {
  const outputs = [
    ["rootfs", "out.tar"],
    ["image", "out"],
    ["disk", "out.raw"],
  ] as const;

  test.each([1, 100, 511, 512, 513, 1023, 1024, 1025, 3000, 4023, 4095, 4096, 4300, 4608])("a tar of which %i bytes are left", async (length) => {
    const path = scratch.write(`cut-${length}.tar`, tar.subarray(0, length));
    for (const [name, output] of length === 3000 ? outputs : outputs.slice(0, 1)) {
      await fails([name, path, "-o", output, ...epoch], 2, new RegExp(`cut-${length}\\.tar: .*(cut|end|trunc|short|missing)`), length === 3000 ? real : here);
    }
    await fails(["rootfs", "-", "-o", "out.tar", ...epoch], 2, /standard input: .*(cut|end|trunc|short|missing)/, fed(tar.subarray(0, length)));
  });

  const packers: readonly [name: string, pack: () => Buffer, tool: string][] = [
    ["gzip", () => gzipSync(tar), "sh"],
    ["zstd", () => execFileSync("zstd", ["-q"], { input: tar }), "zstd"],
    ["xz", () => execFileSync("xz", [], { input: tar }), "xz"],
  ];
  for (const [name, pack, tool] of packers) {
    oracle(tool)(`${name}: cut at its start, in its middle, before its last bytes`, async () => {
      const packed = pack();
      for (const length of [7, 20, packed.length >> 1, packed.length - 9, packed.length - 4, packed.length - 1]) {
        const cut = packed.subarray(0, length);
        const path = scratch.write(`cut-${length}.${name}`, cut);
        await fails(
          ["rootfs", path, "-o", "out.tar", ...epoch],
          2,
          new RegExp(`cut-${length}\\.${name}: .*(cut|end|trunc|short)`),
          length === 20 ? real : here,
        );
        await fails(["rootfs", "-", "-o", "out.tar", ...epoch], 2, /standard input: .*(cut|end|trunc|short)/, fed(cut));
      }
      for (const [command, output] of outputs.slice(1)) {
        await fails([command, scratch.at(`cut-20.${name}`), "-o", output, ...epoch], 2, /cut-20/);
      }
    });

    oracle(tool)(`${name}: one byte changed is found by its checksum`, async () => {
      const packed = Buffer.from(pack());
      const at = packed.length - 5;
      packed[at] = (packed[at] ?? 0) ^ 0x40;
      await fails(["rootfs", scratch.write(`bad.${name}`, packed), "-o", "out.tar", ...epoch], 2, new RegExp(`bad\\.${name}: `));
    });
  }
});

describe("a stranger's text in a message cannot move a terminal's cursor or forge a line", () => {
  const evil = "x\u001b[2J\u001b]0;owned\u0007\nimgkit: all is well\r\u009b31m";

  test.each<[what: string, args: string[], code: 2]>([
    ["a path", ["rootfs", evil, "-o", "out.tar", ...epoch], 2],
    ["a command", [evil], 2],
    ["a flag", ["rootfs", `--${evil}`], 2],
    ["a value", ["rootfs", "x", "-o", "y", "--profile", evil], 2],
    ["an epoch", ["rootfs", "x", "-o", "y", "--epoch", evil], 2],
    ["an owner", ["rootfs", "x", "-o", "y", "--owner", evil], 2],
    ["a spec", ["rootfs", `mmdebstrap:${evil}`, "-o", "y", ...epoch], 2],
    ["a platform", ["image", "x", "-o", "y", "--platform", evil, ...epoch], 2],
    ["a digest", ["verify", "x", "--digest", evil], 2],
    ["a folder that is missing", ["rootfs", "x", "-o", `${evil}/y`, ...epoch], 2],
  ])("%s", async (_, args, code) => {
    await fails(args, code, /./);
  });

  test("a name in a tar", async () => {
    // The first member is a hard link to what is not there: refused with its name.
    const header = Buffer.alloc(512);
    header.write("x\u001b[2J\nimgkit: all is well", 0, "latin1");
    header.write("0000644\u00000000000\u00000000000\u000000000000000\u000000000000000\u0000        1nowhere", 100, "latin1");
    header.write("ustar\u000000", 257, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\u0000 `, 148, "latin1");
    const path = scratch.write("evil.tar", Buffer.concat([header, zeroBlocks]));
    const error = await fails(["rootfs", path, "-o", "out.tar", ...epoch], 2, /nowhere/);
    expect(error.message).toContain("\\x1b[2J\\x0aimgkit: all is well");
  });

  test("a warning about a name in a folder, and the lines of a verification", async () => {
    const folder = scratch.folder("warned");
    // A socket is left out with a warning; its name is a stranger's.
    const { createServer } = await import("node:net");
    const server = createServer().listen(`${folder}/s\u001b[2J\nimgkit: all is well`);
    const result = await imgkit(["rootfs", folder, "-o", scratch.at("warned.tar"), ...epoch]);
    server.close();
    expect(result).toMatchObject({ code: 0 });
    expect(result.stderr).toMatch(/^imgkit: warning: [^\u0000-\u001f]*\\x1b\[2J\\x0aimgkit: all is well[^\u0000-\u001f]*\n$/);

    const digest = `sha256:${"0".repeat(64)}`;
    const name = "v\u001b[2J\nimgkit: all is well";
    const verdict = await imgkit(["verify", scratch.write(name, tar), "--digest", digest]);
    expect(verdict.code).toBe(1);
    expect(verdict.stderr).toMatch(/^imgkit: [^\u0000-\u001f]+\n$/);
    expect(verdict.stdout.toString()).toMatch(/^[^\u0000-\u001f]+\n$/);
  });
});

describe("a disk that is shorter than its partition table says", () => {
  test.each([100, 1024, 17 * 1024, (1 << 20) + 100, (1 << 20) * 2 + 50])("verify of the first %i bytes finds it, and says where", async (length) => {
    const disk = scratch.at("good.raw");
    if (!fs.existsSync(disk)) expect((await imgkit(["disk", scratch.at("good.tar"), "-o", disk, ...epoch])).code).toBe(0);
    const path = scratch.write(`short-${length}.raw`, fs.readFileSync(disk).subarray(0, length));
    const result = await imgkit(["verify", path, "--as", "disk"]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^(imgkit: \S+short-\d+\.raw: [^\u0000-\u001f]+\n)+$/);
    expect(result.stderr).toMatch(length < 1024 ? /no GUID partition table/ : /end|short|beyond|behind|outside|smaller|larger/);
    expect(result.stdout.toString()).toMatch(/NOT verified/);
  });

  test("as a source of a disk it is refused", async () => {
    await fails(["disk", scratch.write("a.raw", fs.readFileSync(scratch.at("good.raw")).subarray(0, 70_000)), "-o", "out.raw", ...epoch], 2, /a\.raw: /);
  });
});
