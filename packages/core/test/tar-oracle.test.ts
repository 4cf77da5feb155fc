import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect } from "@imgkit/bytes";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect } from "vitest";
import { materialise } from "../../../fixtures/src/index.node.ts";
import { type ArbitraryTreeOptions, arbitraryTree, fixtureTree } from "../../../fixtures/src/index.ts";
import { gnuTar135, oracleRoot } from "../../../test/oracle.ts";
import { readDirectory } from "../src/directory.node.ts";
import { normalise } from "../src/normalise/normalise.ts";
import { writeTar } from "../src/tar/writer.ts";

// tar/1 is what GNU tar 1.35 writes with these flags, and here they meet on real folders: owners, devices, attributes,
// names of any bytes. GNU tar writes attributes in the file system's order, so a node has at most one.

const epoch = 1_700_000_000;
const recipe = [
  ...["--sort=name", "--format=posix", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", "--numeric-owner"],
  ...[`--mtime=@${epoch}`, "--clamp-mtime", "--xattrs", "--xattrs-include=*", "--xattrs-exclude=trusted.*"],
  ...["--xattrs-exclude=security.selinux", "--xattrs-exclude=security.ima"],
];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-tar-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function gnuTar(directory: string, name: string = "."): Uint8Array {
  const [tar, ...before] = gnuTar135() as [string, ...string[]];
  const env = { ...process.env, LC_ALL: "C", TZ: "Pacific/Apia" };
  return execFileSync(tar, [...before, ...recipe, "-C", directory, "-cf", "-", name], { env, maxBuffer: 1 << 30 });
}

async function ours(directory: string, root: string = "."): Promise<Uint8Array> {
  return collect(writeTar(normalise(await readDirectory(directory), { epoch }).tree, { epoch, root }));
}

/** The first block in which two archives differ, told by its entry's header; nothing when they are equal. */
function firstDifference(a: Uint8Array, b: Uint8Array): string | undefined {
  if (Buffer.compare(a, b) === 0) return undefined;
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const block = at - (at % 512);
  const show = (bytes: Uint8Array): string =>
    JSON.stringify(
      Buffer.from(bytes.subarray(block, block + 512))
        .toString("latin1")
        .replace(/\0+/g, "·"),
    );
  return `byte ${at} (byte ${at - block} of its block; ${a.length} and ${b.length} bytes)\nours ${show(a)}\ntheirs ${show(b)}`;
}

async function expectEqual(directory: string): Promise<void> {
  expect(firstDifference(await ours(directory), gnuTar(directory))).toBeUndefined();
}

describe("equal to GNU tar 1.35, byte for byte", () => {
  oracleRoot("tar-1.35")("a root with a name of its own, as -C PARENT NAME has it", async () => {
    const root = join(folder, "chart-é");
    mkdirSync(join(root, "a".repeat(99)), { recursive: true });
    writeFileSync(join(root, "a".repeat(99), "file"), "text");
    writeFileSync(join(root, "b"), "");
    linkSync(join(root, "b"), join(root, "c"));
    utimesSync(join(root, "b"), 1.5, 1.5);
    expect(firstDifference(await ours(root, "chart-é"), gnuTar(folder, "chart-é"))).toBeUndefined();
    for (const name of ["", "..", "a/b", "a\0"]) await expect(ours(root, name)).rejects.toMatchObject({ code: "BAD_PATH" });
  });

  const runs = process.env.IMGKIT_LONG === "1" ? 1500 : 60;
  const kinds: [string, ArbitraryTreeOptions][] = [
    ["any random tree", {}],
    ["random trees of many small nodes", { maxNodes: 120, maxFileSize: 600 }],
  ];
  for (const [name, options] of kinds) {
    oracleRoot("tar-1.35", "setfattr", "getfattr")(
      name,
      async () => {
        let number = 0;
        await fc.assert(
          fc.asyncProperty(arbitraryTree({ maxXattrs: 1, ...options }), async (tree) => {
            number += 1;
            const made = join(folder, `${number}`);
            await materialise(tree, made);
            await expectEqual(made);
            rmSync(made, { recursive: true });
          }),
          { numRuns: runs },
        );
      },
      900_000,
    );
  }

  oracleRoot(
    "tar-1.35",
    "setfattr",
    "getfattr",
  )("the fixture root file system", async () => {
    await materialise(fixtureTree(), folder);
    await expectEqual(folder);
  });

  oracleRoot("tar-1.35", "setfattr", "getfattr")("an empty folder", () => expectEqual(folder));

  oracleRoot(
    "tar-1.35",
    "setfattr",
    "getfattr",
  )("paths and link targets of each length around a header's 100 bytes, in ASCII and not", async () => {
    for (const [i, letter] of ["x", "é"].entries()) {
      for (let length = 94; length <= 104; length++) {
        const name = `${letter}${length}-`.padEnd(length - 2 * i, "n");
        writeFileSync(join(folder, name), name);
        execFileSync("ln", ["-s", name, join(folder, `s${letter}${length}`)]);
        execFileSync("ln", [join(folder, name), join(folder, `h${letter}${length}`)]);
        mkdirSync(join(folder, `d${name.slice(1)}`));
        mkdirSync(join(folder, `d${letter}${length}`, "e".repeat(length - 10)), { recursive: true });
      }
    }
    await expectEqual(folder);
  });

  oracleRoot(
    "tar-1.35",
    "getfattr",
    "mknod",
  )("further names: of a file or symlink a hard link, of a device or fifo a node of its own", async () => {
    const script = "echo x >f; ln -s x l; mknod b b 7 0; mknod c c 1 3; mkfifo p; for n in f l b c p; do ln $n $n-2; ln $n $n-3; done";
    execFileSync("sh", ["-ec", script], { cwd: folder });
    await expectEqual(folder);
  });

  oracleRoot(
    "tar-1.35",
    "setfattr",
    "getfattr",
  )("times on each side of 1970, of the epoch, and of whole seconds", async () => {
    const times = [
      "0",
      "1",
      "-1",
      "-1.5",
      "-0.000000001",
      "0.000000001",
      "1699999999.999999999",
      "1700000000",
      "1700000000.000000001",
      "1700000001",
      "8589934592",
    ];
    for (const [i, time] of times.entries()) {
      execFileSync("mkdir", [join(folder, `d${i}`)]);
      execFileSync("touch", ["-d", `@${time}`, join(folder, `f${i}`), join(folder, `d${i}`)]);
      execFileSync("ln", ["-s", "x", join(folder, `s${i}`)]);
      execFileSync("touch", ["-h", "-d", `@${time}`, join(folder, `s${i}`)]);
    }
    await expectEqual(folder);
  });

  oracleRoot(
    "tar-1.35",
    "setfattr",
    "getfattr",
  )("owners on each side of what seven octal digits hold", async () => {
    for (const id of [0, 1, 2_097_151, 2_097_152, 4_294_967_294]) {
      writeFileSync(join(folder, `u${id}`), "");
      writeFileSync(join(folder, `g${id}`), "");
      execFileSync("chown", [`${id}:0`, join(folder, `u${id}`)]);
      execFileSync("chown", [`0:${id}`, join(folder, `g${id}`)]);
    }
    await expectEqual(folder);
  });

  oracleRoot(
    "tar-1.35",
    "setfattr",
    "getfattr",
  )("sizes around a block and around a record, holes read as zeros", async () => {
    for (const size of [0, 1, 511, 512, 513, 9728, 10_239, 10_240, 10_241, 262_143, 262_144, 262_145, 3_000_000]) {
      writeFileSync(join(folder, `${size}`), "");
      truncateSync(join(folder, `${size}`), size);
      utimesSync(join(folder, `${size}`), 1, 1);
    }
    await expectEqual(folder);
  });

  oracleRoot("tar-1.35", "getfattr")("the headers of files of 8 GiB less a byte, which fit a header, and of 8 GiB, which do not", async () => {
    for (const size of [2 ** 33 - 1, 2 ** 33]) {
      const made = join(folder, `${size}`);
      mkdirSync(made);
      writeFileSync(join(made, "f"), "");
      truncateSync(join(made, "f"), size);
      const head = 8192;
      const [tar, ...before] = gnuTar135() as [string, ...string[]];
      const args = [tar, ...before, ...recipe, "-C", made, "-cf", "-", "."];
      const theirs = execFileSync("sh", ["-c", `"$@" 2>/dev/null | head -c ${head}`, "sh", ...args], { env: { ...process.env, LC_ALL: "C" } });
      const stream = writeTar(normalise(await readDirectory(made), { epoch }).tree, { epoch });
      const first = await stream.next();
      await stream.return();
      expect(firstDifference((first.value as Uint8Array).subarray(0, head), theirs)).toBeUndefined();
    }
  });

  oracleRoot(
    "tar-1.35",
    "setfattr",
    "getfattr",
  )("read by an ordinary user who may read it all", async () => {
    for (const name of ["a", "b"]) {
      writeFileSync(join(folder, name), name);
      execFileSync("chown", ["3000000:7", join(folder, name)]);
    }
    execFileSync("setfattr", ["-n", "user.x", "-v", "1", join(folder, "a")]);
    execFileSync("setfattr", ["-n", "trusted.x", "-v", "1", join(folder, "b")]);
    execFileSync("chmod", ["755", folder]);
    const asRoot = gnuTar(folder);
    process.seteuid?.(65_534);
    try {
      expect(firstDifference(await ours(folder), asRoot)).toBeUndefined();
    } finally {
      process.seteuid?.(0);
    }
  });

  oracleRoot(
    "tar-1.35",
    "setfattr",
    "getfattr",
    "setcap",
    "setfacl",
  )("capabilities, access lists, and attributes of names and values that look like PAX's own", async () => {
    const make = (name: string): string => {
      writeFileSync(join(folder, name), name);
      return join(folder, name);
    };
    execFileSync("setcap", ["cap_net_raw,cap_sys_admin+ep", make("capability")]);
    execFileSync("setfacl", ["-m", "u:1234:rw,g:5:r", make("acl")]);
    execFileSync("setfacl", ["-d", "-m", "u:1234:rw", folder]);
    execFileSync("setfattr", ["-n", "trusted.x", "-v", "not kept", make("trusted")]);
    const values = ["", "\n", "=", "1 a=b\n", "x".repeat(60), "x".repeat(70), "x".repeat(960), "x".repeat(3000), "\xff\x01"];
    for (const [i, value] of values.entries()) {
      execFileSync("setfattr", ["-n", `user.v${i}`, "-v", `0x${Buffer.from(value, "latin1").toString("hex")}`, make(`value${i}`)]);
    }
    for (const [i, name] of ["user.100%", "user.a%3Db", "user.é", "user.a b", `user.${"n".repeat(200)}`].entries()) {
      execFileSync("setfattr", ["-n", name, "-v", "x", make(`name${i}`)]);
    }
    await expectEqual(folder);
  });
});
