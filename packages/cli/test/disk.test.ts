import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { makeKernel, makePe } from "../../disk/test/pe-helpers.ts";
import { epoch, expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

const scratch = new Scratch("disk");
afterAll(() => scratch.remove());
const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const kernelPath = "boot/vmlinuz-6.1.0-18-amd64";

/** A tree with a kernel and systemd's stub as a linker makes them, and beside it an initrd. */
beforeAll(async () => {
  const files: Record<string, Uint8Array | string> = {
    [kernelPath]: makeKernel(),
    "usr/lib/systemd/boot/efi/linuxx64.efi.stub": makePe(),
    "usr/lib/os-release": "ID=test\n",
    "usr/bin/tool": pseudoRandomBytes(1, 10_000),
    "opt/twin": pseudoRandomBytes(1, 10_000),
    "etc/hosts": "::1 localhost\n",
  };
  for (const [path, content] of Object.entries(files)) {
    fs.mkdirSync(scratch.at(`tree/${path.split("/").slice(0, -1).join("/")}`), { recursive: true });
    fs.writeFileSync(scratch.at(`tree/${path}`), content);
  }
  fs.symlinkSync(kernelPath, scratch.at("tree/vmlinuz"));
  fs.writeFileSync(scratch.at("initrd"), pseudoRandomBytes(2, 30_000));
  await writeFixtureTar(scratch.at("fixture.tar"));
});

const initrd = (): string[] => ["--initrd", scratch.at("initrd")];
const disk = (...args: string[]) => here(["disk", scratch.at("tree"), ...epoch, ...args]);

describe("what boots", () => {
  test("is found in the tree, and every part, partition and the disk is told with its digest", async () => {
    const out = scratch.at("boot.raw");
    const told = json(await disk(...initrd(), "--cmdline", "console=ttyS0", "--json", "-o", out, "--record", scratch.at("record.json")));
    const bytes = fs.readFileSync(out);
    const range = ({ offset, size }: { offset: number; size: number }): string => sha256(bytes.subarray(offset, offset + size));
    expect(told.output).toEqual({ path: out, digest: sha256(bytes), size: bytes.length });
    expect(told.partitions.map((part: { typeName: string }) => part.typeName)).toEqual(["esp", "root-x86-64", "root-x86-64-verity"]);
    for (const part of [...told.partitions, told.esp]) expect([part.offset, part.digest]).toEqual([part.offset, range(part)]);
    expect(told.esp).toMatchObject({
      path: "EFI/BOOT/BOOTX64.EFI",
      kernelRelease: "6.1.0-18-amd64",
      commandLine: `roothash=${told.rootHash} console=ttyS0`,
      signed: false,
    });
    expect(told.notes).toEqual([]);
    const file = (path: string, from = `/${path}`) => {
      const content = fs.readFileSync(path.startsWith("/") ? path : scratch.at(`tree/${path}`));
      return { from, digest: sha256(content), size: content.length };
    };
    expect(told.esp.parts).toEqual({
      kernel: file(kernelPath),
      stub: file("usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
      initrds: [file(scratch.at("initrd"), scratch.at("initrd"))],
    });
    const record = JSON.parse(fs.readFileSync(scratch.at("record.json"), "utf8"));
    expect(record.inputs.map(({ name }: { name: string }) => name)).toEqual([scratch.at("tree"), scratch.at("initrd")]);
    const verified = json(await here(["verify", out, "--root-hash", told.rootHash, "--json"]));
    expect([verified.ok, verified.ukis.length]).toEqual([true, 1]);
    json(await here(["verify", out, "--from", scratch.at("record.json"), "--json"]));
    const said = (await here(["verify", out, "--root-hash", told.rootHash])).stdout.toString();
    expect(said).toContain("  EFI/BOOT/BOOTX64.EFI on partition 1: its command line names the disk's root hashes\n");
    // A disk whose command line was changed to another root hash, as an attacker would.
    const forged = Buffer.from(bytes);
    forged.write("0".repeat(64), told.esp.offset + bytes.subarray(told.esp.offset).indexOf(told.rootHash), "latin1");
    fs.writeFileSync(scratch.at("forged.raw"), forged);
    const refused = await here(["verify", scratch.at("forged.raw"), "--root-hash", told.rootHash]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /partition 1, EFI\/BOOT\/BOOTX64\.EFI: the command line names another root hash than the disk's \(roothash\) \(expected [0-9a-f]{64}, found 0{64}\)/,
    );
  });

  test("can be given, and wins over what the tree has", async () => {
    fs.writeFileSync(scratch.at("kernel"), makeKernel("9.9.9-given"));
    const given = ["--kernel", scratch.at("kernel"), "--stub", scratch.at("tree/usr/lib/systemd/boot/efi/linuxx64.efi.stub"), ...initrd()];
    const { esp } = json(await disk(...given, "--esp-size", "40M", "--json", "-o", scratch.at("given.raw")));
    expect([esp.kernelRelease, esp.parts.kernel.from]).toEqual(["9.9.9-given", scratch.at("kernel")]);
    const image = json(await disk("--no-esp", "--json", "-o", scratch.at("plain.raw")));
    expect([image.esp, image.notes, image.partitions.length]).toEqual([null, [], 2]);
  });

  test("a disk that does not boot says why", async () => {
    const args = ["disk", scratch.at("fixture.tar"), ...epoch, "-o", scratch.at("none.raw")];
    expect((await here(args)).stdout.toString()).toMatch(
      /\n {2}no EFI system partition: there is no kernel in the tree \(--kernel FILE gives one, --no-esp says that none is meant\)\n$/,
    );
    expect(json(await here([...args, "--json"]))).toMatchObject({ esp: null, notes: [expect.stringMatching(/^no EFI system partition: /)] });
    expect((await here([...args, "--no-esp"])).stdout.toString()).not.toMatch(/EFI/);
  });

  test.each([
    ["an option for it with --no-esp", ["--no-esp", "--cmdline", "x"], /--cmdline is for an EFI system partition, and --no-esp says/],
    [
      "an option for it without a kernel",
      ["--exclude", "boot", "--esp-size", "64M"],
      /--esp-size is for an EFI system partition, and there is no kernel in the tree\. Give --kernel FILE/,
    ],
    ["a kernel and no stub", ["--exclude", "usr/lib/systemd"], /the disk is to boot, but systemd's EFI stub is missing\. .*--stub FILE/],
    ["a command line with a root hash", ["--cmdline", "roothash=00"], /a command line that names a root hash/],
    ["a size that is no whole MiB", ["--var", "1000"], /--var.*whole MiB/],
    ["a folder that cannot be split off", ["--split", "etc"], /--split.*Expected usr, opt or usr,opt/],
    ["a folder twice", ["--split", "usr,usr"], /--split.*Expected usr, opt or usr,opt/],
    ["a stub of another machine than --arch", ["--arch", "arm64", "--stub", "STUB"], /another architecture|another machine/],
    ["a key without a certificate", ["--secure-boot-key", "KEY"], /Give --secure-boot-cert FILE/],
    ["a certificate without a key", ["--secure-boot-cert", "CERT"], /Give --secure-boot-key FILE/],
    ["a key that is none", ["--secure-boot-cert", "KEY", "--secure-boot-key", "KEY"], /./],
    [
      "a tree that has nothing to assemble an initrd from",
      ["--exclude", "nothing"],
      /programs that the initrd is made of are missing .*include=busybox-static,cryptsetup-bin,util-linux/,
    ],
    ["an initrd that is not there", ["--initrd", "/no/such"], /^imgkit: \/no\/such: /],
  ] as const)("refuses %s", async (_, args, message) => {
    fs.writeFileSync(scratch.at("key.txt"), "no key\n");
    const places: Record<string, string> = {
      STUB: scratch.at("tree/usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
      KEY: scratch.at("key.txt"),
      CERT: scratch.at("key.txt"),
    };
    const own =
      (args as readonly string[]).includes("--initrd") || (args as readonly string[]).some((arg) => ["--no-esp", "--exclude"].includes(arg)) ? [] : initrd();
    expectFailure(await disk(...own, ...args.map((arg) => places[arg] ?? arg), "-o", scratch.at("refused.raw")), 2, message);
    expect(fs.existsSync(scratch.at("refused.raw"))).toBe(false);
  });
});

describe("Secure Boot", () => {
  const key = (name: string): string[] => {
    const [keyFile, certFile] = [scratch.at(`${name}.key`), scratch.at(`${name}.crt`)];
    if (!fs.existsSync(keyFile)) {
      const subject = ["-subj", `/CN=${name}`, "-days", "3650", "-keyout", keyFile, "-out", certFile];
      execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject], { stdio: "ignore" });
    }
    return ["--secure-boot-key", keyFile, "--secure-boot-cert", certFile];
  };

  oracle("openssl", "sbverify")("the program is signed with the key: sbverify accepts it, and a second run gives the same bytes", async () => {
    const run = async (name: string) => json(await disk(...initrd(), ...key("one"), "--json", "-o", scratch.at(name)));
    const told = await run("signed.raw");
    expect(told.esp.signed).toBe(true);
    expect((await run("again.raw")).output.digest).toBe(told.output.digest);
    const { offset, size } = told.esp;
    fs.writeFileSync(scratch.at("program.efi"), fs.readFileSync(scratch.at("signed.raw")).subarray(offset, offset + size));
    expect(
      execFileSync("sbverify", ["--cert", scratch.at("one.crt"), scratch.at("program.efi")], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }),
    ).toMatch(/Signature verification OK/);
    expect(json(await here(["verify", scratch.at("signed.raw"), "--json"])).ukis).toMatchObject([{ signed: true }]);
  });

  oracle("openssl")("the key can be elsewhere: what is to be signed goes out, the signature comes in, and the disk is the same", async () => {
    const [, keyFile = "", ...cert] = key("two");
    const direct = json(await disk(...initrd(), ...key("two"), "--json", "-o", scratch.at("direct.raw")));
    const exported = json(await disk(...initrd(), "--secure-boot-export", scratch.at("tbs"), "--json", "-o", scratch.at("unsigned.raw")));
    expect(exported.esp.signed).toBe(false);
    execFileSync("openssl", ["dgst", "-sha256", "-sign", keyFile, "-out", scratch.at("sig"), scratch.at("tbs")]);
    const attached = json(await disk(...initrd(), ...cert, "--secure-boot-signature", scratch.at("sig"), "--json", "-o", scratch.at("attached.raw")));
    expect(attached.output.digest).toBe(direct.output.digest);
    const other = await disk(...initrd(), ...cert, "--cmdline", "other", "--secure-boot-signature", scratch.at("sig"), "-o", scratch.at("refused.raw"));
    expectFailure(other, 2, /the signature is not by the certificate's key, or not of this image/);
  });
});

test("--map says of each block whose it is, in each file system of the disk", async () => {
  const told = json(await disk("--no-esp", "--split", "usr", "--map", scratch.at("map.json"), "--json", "-o", scratch.at("mapped.raw")));
  const map = JSON.parse(fs.readFileSync(scratch.at("map.json"), "utf8"));
  expect(map.schema).toBe("imgkit.map/1");
  expect(map.fileSystems.map((one: { partition: number; mountPoint: string; offset: number }) => [one.partition, one.mountPoint, one.offset])).toEqual([
    [1, "/", told.partitions[0].offset],
    [3, "/usr", told.partitions[2].offset],
  ]);
  const bytes = fs.readFileSync(scratch.at("mapped.raw"));
  const [root, usr] = map.fileSystems;
  const dataOf = (fileSystem: typeof root, path: string) =>
    fileSystem.extents.find((one: { part: string; path: string }) => one.part === "data" && one.path === path);
  for (const [fileSystem, path] of [
    [root, "opt/twin"],
    [usr, "bin/tool"],
  ]) {
    const { start, end, blocks } = dataOf(fileSystem, path);
    expect(bytes.subarray(fileSystem.offset + start, fileSystem.offset + end)).toEqual(Buffer.from(pseudoRandomBytes(1, 10_000)).subarray(0, end - start));
    expect(blocks).toEqual([start / 4096, Math.floor((end - 1) / 4096)]);
  }
  // One line for each extent, so that grep finds a path.
  expect(
    fs
      .readFileSync(scratch.at("map.json"), "utf8")
      .split("\n")
      .filter((line) => line.includes('"bin/tool"')),
  ).toHaveLength(2);
});

describe("a ready image", () => {
  const image = (...args: string[]) => here(["disk", ...args, "--json", "-o", scratch.at("ready.raw")]);

  test("of EROFS boots with the kernel that is in it", async () => {
    const { partitions: whole } = json(await disk("--no-esp", "--json", "-o", scratch.at("whole.raw")));
    const { offset, size } = whole[0];
    fs.writeFileSync(scratch.at("root.erofs"), fs.readFileSync(scratch.at("whole.raw")).subarray(offset, offset + size));
    const { esp, partitions } = json(await image(scratch.at("root.erofs"), ...initrd(), "--map", scratch.at("ready.json")));
    expect([esp.parts.kernel.from, partitions.length]).toEqual([`/${kernelPath}`, 3]);
    expect(JSON.parse(fs.readFileSync(scratch.at("ready.json"), "utf8")).fileSystems[0].extents.length).toBeGreaterThan(5);
  });

  oracle("mkfs.erofs")("that is not read here is taken as it is, and boots with what is given", async () => {
    fs.mkdirSync(scratch.at("packed"));
    fs.writeFileSync(scratch.at("packed/big"), "compressible ".repeat(10_000));
    execFileSync("mkfs.erofs", ["-zlz4", "-Eztailpacking", scratch.at("packed.erofs"), scratch.at("packed")], { stdio: "ignore" });
    expect(json(await image(scratch.at("packed.erofs")))).toMatchObject({ fileSystem: "erofs", esp: null });
    const given = ["--kernel", scratch.at(`tree/${kernelPath}`), "--stub", scratch.at("tree/usr/lib/systemd/boot/efi/linuxx64.efi.stub")];
    expect(json(await image(scratch.at("packed.erofs"), ...given, ...initrd())).partitions).toHaveLength(3);
    expectFailure(await image(scratch.at("packed.erofs"), ...given), 2, /but an initrd is missing\. Give --initrd FILE/);
  });

  oracle("mksquashfs")("of another file system has no map", async () => {
    execFileSync("mksquashfs", [scratch.at("tree"), scratch.at("root.squashfs"), "-quiet", "-no-progress"], { stdio: "ignore" });
    expectFailure(await image(scratch.at("root.squashfs"), "--map", scratch.at("none.json")), 2, /a map can be made of EROFS only .*found squashfs/);
    expect(fs.existsSync(scratch.at("none.json"))).toBe(false);
  });
});

oracleRoot("setpriv")("root and an ordinary user, under another umask, time zone and locale, make the same disk", async () => {
  const args = ["disk", scratch.at("fixture.tar"), ...epoch, "--profile", "debian", "--kernel", scratch.at(`tree/${kernelPath}`), ...initrd(), "--stub"];
  const whole = [...args, scratch.at("tree/usr/lib/systemd/boot/efi/linuxx64.efi.stub"), "--var", "8M", "--cmdline", "quiet", "--json", "-o"];
  const mine = json(await here([...whole, scratch.at("root.raw")]));
  const folder = scratch.at("nobody");
  fs.mkdirSync(folder);
  fs.chownSync(folder, 65534, 65534);
  fs.chmodSync(scratch.at("."), 0o755);
  const prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'umask 077; exec "$@"', "sh"];
  const env = { TZ: "Pacific/Kiritimati", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8", HOME: folder };
  const theirs = json(await imgkit([...whole, `${folder}/disk.raw`], { prefix, env }));
  expect(theirs.output.digest).toBe(mine.output.digest);
});
