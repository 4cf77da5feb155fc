import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { collect, memorySource, streamSource } from "@imgkit/bytes";
import { createUki } from "@imgkit/disk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { makeKernel, makePe } from "../../disk/test/pe-helpers.ts";
import { expectFailure, here, json, Scratch } from "./cli.ts";

const scratch = new Scratch("uki");
afterAll(() => scratch.remove());

const key = (name: string): string => fileURLToPath(new URL(`../../attest/test/keys/${name}`, import.meta.url));
const osRelease = 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n';
const initrds = [pseudoRandomBytes(1, 5001), pseudoRandomBytes(2, 777)];
let parts: string[];
let image: string;

beforeAll(async () => {
  const files = {
    stub: makePe({ symbols: 1 }),
    linux: makeKernel(),
    one: initrds[0],
    two: initrds[1],
    "os-release": osRelease,
    cmdline: "console=ttyS0 quiet\n",
  };
  for (const [name, content] of Object.entries(files)) scratch.write(name, content ?? "");
  const at = (name: string): string => scratch.at(name);
  parts = [
    "--stub",
    at("stub"),
    "--linux",
    at("linux"),
    "--initrd",
    at("one"),
    "--initrd",
    at("two"),
    "--cmdline",
    `@${at("cmdline")}`,
    "--os-release",
    `@${at("os-release")}`,
  ];
  image = at("linux.efi");
  expect(await here(["uki", "build", ...parts, "-o", image])).toMatchObject({ code: 0, stderr: "" });
});

describe("uki build", () => {
  test("the image is the library's, whole, in a file, on standard output and in the report", async () => {
    const memory = (bytes: Uint8Array | undefined) => memorySource(bytes ?? new Uint8Array());
    const ours = await createUki({
      stub: memory(makePe({ symbols: 1 })),
      linux: memory(makeKernel()),
      initrds: initrds.map(memory),
      commandLine: "console=ttyS0 quiet",
      osRelease,
    });
    const bytes = Buffer.from(await collect(streamSource(ours)));
    expect(fs.readFileSync(image).equals(bytes)).toBe(true);
    const printed = await here(["uki", "build", ...parts, "-o", "-"]);
    expect(printed.stdout.equals(bytes)).toBe(true);
    const record = scratch.at("record.json");
    const report = json(await here(["uki", "build", ...parts, "-o", scratch.at("again.efi"), "--json", "--record", record]));
    expect(report).toMatchObject({ command: "uki build", format: "uki/1", arch: "x86-64", kernelRelease: "6.1.0-18-amd64", output: { size: bytes.length } });
    const recorded = JSON.parse(fs.readFileSync(record, "utf8"));
    expect(recorded.inputs.map(({ name }: { name: string }) => name)).toEqual(
      ["stub", "linux", "one", "two", "cmdline", "os-release"].map((n) => scratch.at(n)),
    );
    expect(recorded.outputs[0].digest).toBe((report as { output: { digest: string } }).output.digest);
  });

  test("a kernel that does not say its version is told, and --uname says it", async () => {
    const linux = scratch.write("nameless", makePe());
    const args = ["uki", "build", "--stub", scratch.at("stub"), "--linux", linux, "-o", scratch.at("nameless.efi")];
    expect((await here(args)).stderr).toContain("give it with --uname");
    expect(json(await here([...args, "--uname", "6.9", "--json"]))).toMatchObject({ kernelRelease: "6.9" });
  });

  test.each<[what: string, args: (at: (name: string) => string) => string[], message: RegExp]>([
    ["a missing stub", (at) => ["--stub", at("none"), "--linux", at("linux")], /none: /],
    ["no stub", (at) => ["--linux", at("linux")], /required option '--stub <file>'/],
    ["a folder", (at) => ["--stub", at("."), "--linux", at("linux")], /folder|directory|regular/],
    ["a command line with a newline in it", (at) => ["--stub", at("stub"), "--linux", at("linux"), "--cmdline", "a\nb"], /U\+000A/],
    ["a command line file that is no text", (at) => ["--stub", at("stub"), "--linux", at("linux"), "--cmdline", `@${at("one")}`], /one: not a text/],
    ["an os-release that is not there", (at) => ["--stub", at("stub"), "--linux", at("linux"), "--os-release", `@${at("none")}`], /none: /],
    ["the image and the record in one place", (at) => ["--stub", at("stub"), "--linux", at("linux"), "--record", at("x.efi")], /same file/],
  ])("%s is refused, and nothing is written", async (_, args, message) => {
    const output = scratch.at("x.efi");
    expectFailure(await here(["uki", "build", ...args((name) => scratch.at(name)), "-o", output]), 2, message);
    expect(fs.existsSync(output)).toBe(false);
  });
});

describe("uki inspect", () => {
  test("it gives back what was put in", async () => {
    const report = json(await here(["uki", "inspect", image, "--json"])) as { sections: { name: string; size: number }[] };
    expect(report).toMatchObject({ commandLine: "console=ttyS0 quiet", osRelease, kernelRelease: "6.1.0-18-amd64", arch: "x86-64", signatures: [] });
    expect(report.sections.map(({ name, size }) => [name, size]).slice(2)).toEqual([
      [".osrel", osRelease.length],
      [".cmdline", 19],
      [".uname", 14],
      [".linux", makeKernel().length],
      [".initrd", 5004 + 780],
    ]);
    const { code, stdout } = await here(["uki", "inspect", image]);
    expect([code, stdout.toString()]).toEqual([0, expect.stringMatching(/command line:\s+console=ttyS0 quiet\n[\s\S]*not signed\n$/)]);
    expect(stdout.toString()).toMatch(/system:\s+Debian GNU\/Linux 12\n/);
  });

  test("an image that has no one hash, with gaps between its sections, is shown all the same", async () => {
    const sections = [
      [".text", new Uint8Array(9)],
      [".linux", makeKernel()],
    ] as const;
    const gaps = scratch.write("gaps.efi", makePe({ gap: 512, sections }));
    const report = json(await here(["uki", "inspect", gaps, "--json"]));
    expect(report).toMatchObject({ arch: "x86-64", signatures: [] });
    expect(report).not.toHaveProperty("imageHash");
    expectFailure(await here(["uki", "sign", gaps, "--export-digest", scratch.at("gaps.tbs")]), 2, /gap before section/);
  });

  test("another file is refused", async () => {
    expectFailure(await here(["uki", "inspect", scratch.at("one")]), 2, /not a PE image/);
    expectFailure(await here(["uki", "inspect", scratch.at("stub")]), 2, /no unified kernel image/);
  });
});

describe("uki sign and attach", () => {
  const sign = (...args: string[]) => here(["uki", "sign", image, ...args]);

  test("signed once, the image is good by its certificate and by no other, and an altered one is not", async () => {
    const signed = scratch.at("signed.efi");
    const record = scratch.at("sign.json");
    expect(await sign("--key", key("a.key"), "--cert", key("a.pem"), "-o", signed, "--record", record)).toMatchObject({ code: 0, stderr: "" });
    const recorded = JSON.parse(fs.readFileSync(record, "utf8"));
    // The key's digest would tell whether someone has found it.
    expect(recorded.inputs.map(({ name }: { name: string }) => name)).toEqual([image, key("a.pem")]);
    expect((await here(["uki", "inspect", signed])).code).toBe(0);
    expect((await here(["uki", "inspect", signed, "--cert", key("a.pem")])).code).toBe(0);
    const other = await here(["uki", "inspect", signed, "--cert", key("b.pem")]);
    expect([other.code, other.stdout.toString()]).toEqual([1, expect.stringContaining("NOT signed by CN=imgkit test b")]);
    expect((await here(["uki", "inspect", image, "--cert", key("a.pem")])).code).toBe(1);
    const bytes = fs.readFileSync(signed);
    bytes[3000] = (bytes[3000] ?? 0) ^ 1;
    const altered = await here(["uki", "inspect", scratch.write("altered.efi", bytes), "--json"]);
    expect(altered.code).toBe(1);
    expect(json({ ...altered, code: 0 })).toMatchObject({ signatures: [{ good: false, problem: expect.stringContaining("of an image with the hash") }] });
  });

  test("signed twice, the same bytes; signed by two, both are listed", async () => {
    const run = async (name: string, from: string, who: string): Promise<Buffer> => {
      await here(["uki", "sign", from, "--key", key(`${who}.key`), "--cert", key(`${who}.pem`), "-o", scratch.at(name)]);
      return fs.readFileSync(scratch.at(name));
    };
    expect((await run("one.efi", image, "a")).equals(await run("two.efi", image, "a"))).toBe(true);
    await run("both.efi", scratch.at("one.efi"), "b");
    const report = json(await here(["uki", "inspect", scratch.at("both.efi"), "--json"])) as { signatures: { signer: { subject: string } }[] };
    expect(report.signatures.map(({ signer }) => signer.subject)).toEqual([
      'CN=imgkit test a\\, \\"quoted\\", O=imgkit',
      'CN=imgkit test b\\, \\"quoted\\", O=imgkit',
    ]);
  });

  test("an encrypted key is opened with its passphrase", async () => {
    const passphrase = scratch.write("passphrase", "secret\n");
    const signed = scratch.at("encrypted.efi");
    expect((await sign("--key", key("a-encrypted.key"), "--passphrase-file", passphrase, "--cert", key("a.pem"), "-o", signed)).code).toBe(0);
    expectFailure(await sign("--key", key("a-encrypted.key"), "--cert", key("a.pem"), "-o", signed), 2, /cannot be read/);
  });

  oracle("openssl", "sbverify")("what openssl makes of the exported bytes is attached, and the image is the one that is signed here", async () => {
    const [tbs, signature, attached, signed] = ["tbs", "signature", "attached.efi", "here.efi"].map((name) => scratch.at(name)) as [
      string,
      string,
      string,
      string,
    ];
    expect(json(await sign("--export-digest", tbs, "--json"))).toMatchObject({ toBeSigned: { path: tbs, size: fs.statSync(tbs).size } });
    execFileSync("openssl", ["dgst", "-sha256", "-sign", key("a.key"), "-out", signature, tbs]);
    expect((await here(["uki", "attach", image, "--signature", signature, "--cert", key("a.pem"), "-o", attached])).code).toBe(0);
    await sign("--key", key("a.key"), "--cert", key("a.pem"), "-o", signed);
    expect(fs.readFileSync(attached).equals(fs.readFileSync(signed))).toBe(true);
    expect(execFileSync("sbverify", ["--cert", key("a.pem"), attached], { encoding: "utf8" })).toContain("OK");
    expectFailure(await here(["uki", "attach", image, "--signature", signature, "--cert", key("b.pem"), "-o", attached]), 2, /not by the certificate's key/);
  });

  oracle("sbsign", "sbverify")("what sbsign --detached makes is attached", async () => {
    const [p7, attached] = [scratch.at("linux.p7"), scratch.at("p7.efi")];
    execFileSync("sbsign", ["--detached", "--key", key("a.key"), "--cert", key("a.pem"), "--output", p7, image], { stdio: "pipe" });
    expect((await here(["uki", "attach", image, "--pkcs7", p7, "-o", attached])).code).toBe(0);
    expect((await here(["uki", "inspect", attached, "--cert", key("a.pem")])).code).toBe(0);
    expectFailure(await here(["uki", "attach", scratch.at("stub"), "--pkcs7", p7, "-o", attached]), 2, /of an image with the hash/);
  });

  test.each<[what: string, args: string[], message: RegExp]>([
    ["sign without a key", ["sign", "--cert", key("a.pem"), "-o", "x"], /needs --key, --cert and -o/],
    ["sign with both", ["sign", "--key", key("a.key"), "--export-digest", "x"], /goes with neither/],
    ["sign with another's certificate", ["sign", "--key", key("a.key"), "--cert", key("b.pem"), "-o", "x"], /not by the certificate's key/],
    ["sign with a key on a curve", ["sign", "--key", key("ec.key"), "--cert", key("a.pem"), "-o", "x"], /RSA of at least 2048 bits/],
    ["attach without anything", ["attach", "-o", "x"], /needs --signature and --cert, or --pkcs7/],
    ["attach with too much", ["attach", "--pkcs7", "x", "--cert", "x", "-o", "x"], /needs --signature and --cert, or --pkcs7/],
  ])("%s is refused", async (_, [action = "", ...args], message) => {
    const wanted = args.map((arg) => (arg === "x" ? scratch.at("refused") : arg));
    expectFailure(await here(["uki", action, image, ...wanted]), 2, message);
    expect(fs.existsSync(scratch.at("refused"))).toBe(false);
  });
});
