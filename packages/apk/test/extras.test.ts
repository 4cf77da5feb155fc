import { createHash, generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { folderFetcher, nodeGunzip, nodeRsa } from "../src/index.node.ts";
import { type ApkoBuild, buildApko, lockApko, parseApkoConfig } from "../src/index.ts";
import { entry, indexFile, makeApk, makeSigner, type Signer, signed } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-apko-extras-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let signer: Signer;
/** A certificate as far as is looked at it: one DER value in PEM. */
const der = (byte: number): Buffer => Buffer.from([0x30, 0x03, 0x02, 0x01, byte]);
const pem = (byte: number): string => `-----BEGIN CERTIFICATE-----\n${der(byte).toString("base64")}\n-----END CERTIFICATE-----\n`;
const SHARE = "usr/local/share/ca-certificates";

beforeAll(() => {
  signer = makeSigner("test.rsa.pub");
  writeFileSync(join(folder, "test.rsa.pub"), signer.pem);
  mkdirSync(join(folder, "repo/x86_64"), { recursive: true });
  const packages: Readonly<Record<string, { files: Readonly<Record<string, string>>; provides?: readonly string[] }>> = {
    bundle: { files: { "etc/ssl/certs/ca-certificates.crt": "first\n", "kaniko/ssl/certs/ca-certificates.crt": "" } },
    java: { files: { "etc/ssl/certs/java/cacerts": "store" } },
    provider: {
      files: {
        [`${SHARE}/b.pem`]: pem(2),
        [`${SHARE}/a.crt`]: `some words\n${pem(3)}`,
        [`${SHARE}/two.crt`]: pem(4) + pem(5),
        [`${SHARE}/readme.txt`]: pem(6),
        "etc/x.crt": pem(7),
      },
      provides: ["my-certificates"],
    },
    s6: { files: { "bin/s6-svscan": "s6" } },
  };
  const entries = Object.entries(packages).map(([name, { files, provides = [] }]) => {
    const change = (text: string): string => `${text.replace(/depend = .*\n/g, "")}${provides.map((one) => `provides = ${one}\n`).join("")}`;
    const { bytes, checksum } = makeApk({ name, signer, files, time: 100, change });
    writeFileSync(join(folder, "repo/x86_64", `${name}-1.0-r0.apk`), bytes);
    return entry({ name, checksum, provides });
  });
  writeFileSync(join(folder, "repo/x86_64/APKINDEX.tar.gz"), signed(indexFile(entries), signer));
});

const options = () => ({
  architecture: "x86_64",
  epoch: 1000,
  fetcher: folderFetcher(folder),
  rsa: nodeRsa,
  gunzip: nodeGunzip,
  spool: async (stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) => ({ ...memorySource(await collect(stream)), close: () => undefined }),
});
const configOf = (packages: readonly string[], more: object, contents: object = {}) =>
  parseApkoConfig({ contents: { keyring: ["test.rsa.pub"], repositories: ["repo"], packages, ...contents }, archs: ["x86_64"], ...more }, "apko.yaml");
const build = (...args: Parameters<typeof configOf>): Promise<ApkoBuild> => buildApko(configOf(...args), options());

async function text(tree: Tree, path: string): Promise<string | undefined> {
  const node = tree.get(path);
  return node?.type === "file" ? Buffer.from(await node.content.read(0, node.content.size)).toString() : undefined;
}
const time = (tree: Tree, path: string): number => Number((tree.get(path)?.mtime ?? -1n) / 1_000_000_000n);

// What stands where was derived by hand from apko's pkg/build/certificates.go.
describe("certificates", () => {
  const certificates = { additional: [{ name: "own", content: `words\n${pem(1)}` }], providers: ["my-certificates"] };

  test("stand behind those of the bundles, the configuration's first, and in files of their own; checksums are of the new bundles", async () => {
    const { tree } = await build(["bundle", "provider"], { certificates });
    const own = `${SHARE}/own-${createHash("sha256").update(der(1)).digest("hex")}.crt`;
    expect(await text(tree, own)).toBe(pem(1));
    // A file of two, one that is elsewhere and one of another name are left out.
    const bundle = `first\n${pem(1)}\n${pem(3)}\n${pem(2)}\n`;
    expect(await text(tree, "etc/ssl/certs/ca-certificates.crt")).toBe(bundle);
    expect(await text(tree, "kaniko/ssl/certs/ca-certificates.crt")).toBe(bundle.slice("first\n".length));
    expect(await text(tree, "etc/ssl/certs/.ca-certificates.crt.sha256")).toContain(createHash("sha256").update(bundle).digest("hex"));
    expect([own, "etc/ssl/certs/ca-certificates.crt"].map((path) => time(tree, path))).toEqual([1000, 1000]);
    expect(JSON.parse((await text(tree, "etc/apko.json")) ?? "").certificates).toEqual(certificates);
  });

  test("of nobody change nothing", async () => {
    const { tree } = await build(["bundle"], { certificates: { providers: ["my-certificates"] } });
    expect([await text(tree, "etc/ssl/certs/ca-certificates.crt"), time(tree, "etc/ssl/certs/ca-certificates.crt")]).toEqual(["first\n", 100]);
  });

  test.each([
    ["no certificate", { additional: [{ name: "x", content: "words" }] }, /x: not a certificate.*BEGIN CERTIFICATE/],
    ["two of them", { additional: [{ name: "x", content: pem(1) + pem(2) }] }, /not a certificate/],
    ["a key", { additional: [{ name: "x", content: pem(1).replaceAll("CERTIFICATE", "PUBLIC KEY") }] }, /not a certificate/],
    ["bytes that are no DER", { additional: [{ name: "x", content: pem(1).replace("MAMC", "MAQC") }] }, /not a certificate/],
    ["a beginning without end", { additional: [{ name: "x", content: `-----BEGIN CERTIFICATE-----${" ".repeat(65_000)}` }] }, /not a certificate/],
    ["many beginnings", { additional: [{ name: "x", content: "-----BEGIN CERTIFICATE-----\n".repeat(2300) }] }, /not a certificate/],
    ["more than a certificate can be", { additional: [{ name: "x", content: "x".repeat(65_537) }] }, /certificates\.additional\[0\]\.content/],
    ["a name that is a path", { additional: [{ name: "../x", content: pem(1) }] }, /certificates\.additional\[0\]\.name/],
    ["a name that is hidden", { additional: [{ name: ".x", content: pem(1) }] }, /certificates\.additional\[0\]\.name/],
  ])("%s is refused", async (_, given, cause) => {
    await expect((async () => build(["bundle"], { certificates: given }))()).rejects.toThrow(cause);
  });

  test("a trust store of Java's is refused by name, but only when something is to go into it", async () => {
    await expect(build(["java", "bundle"], { certificates })).rejects.toThrow(
      expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/etc\/ssl\/certs\/java\/cacerts/) }),
    );
    expect((await build(["java"], { certificates: {} })).tree.get("etc/ssl/certs/java/cacerts")).toMatchObject({ type: "file" });
  });
});

describe("a runtime keyring", () => {
  const keyring = (...keys: readonly object[]) => build(["bundle"], {}, { runtime_keyring: keys });
  test("is written as PEM, and trusted by nobody here", async () => {
    const other = makeSigner("other");
    const { tree } = await keyring({ name: "other.rsa.pub", content: `\n${other.pem.replaceAll("\n", "\r\n")}` });
    expect(await text(tree, "etc/apk/keys/other.rsa.pub")).toBe(other.pem);
    expect(time(tree, "etc/apk/keys/other.rsa.pub")).toBe(1000);
    expect(JSON.parse((await text(tree, "etc/apko.json")) ?? "").contents.runtime_keyring[0].name).toBe("other.rsa.pub");
    await expect(build(["bundle"], {}, { keyring: [], runtime_keyring: [{ name: "test.rsa.pub", content: signer.pem }] })).rejects.toThrow(
      /signed by no key that is trusted/,
    );
  });

  test("is of RSA keys, each of a name that is free", async () => {
    const { publicKey } = generateKeyPairSync("ed25519");
    const ed = publicKey.export({ type: "spki", format: "pem" }).toString();
    await expect(keyring({ name: "x", content: ed })).rejects.toThrow(expect.objectContaining({ code: "BAD_KEY" }));
    await expect(keyring({ name: "x", content: pem(1) })).rejects.toThrow(/not a public key/);
    await expect(keyring({ name: "test.rsa.pub", content: signer.pem })).rejects.toThrow(/a key is to be where another one is/);
    await expect(keyring({ name: "x", content: signer.pem }, { name: "x", content: signer.pem })).rejects.toThrow(/a key is to be where another one is/);
  });
});

describe("services", () => {
  const entrypoint = { type: "service-bundle", services: { web: "/bin/web --port 80", db: "/bin/db" } };

  // By hand, from apko's pkg/s6 and ValidateServiceBundle.
  test("are started by s6, which is asked for, and is in the lock", async () => {
    const { tree, config } = await build(["bundle"], { entrypoint });
    expect(await text(tree, "sv/web/run")).toBe("#!/bin/execlineb\n/bin/web --port 80\n");
    expect([tree.get("sv")?.mode, tree.get("sv/db")?.mode, tree.get("sv/db/run")?.mode]).toEqual([0o777, 0o777, 0o755]);
    expect(config.entrypoint.command).toBe("/bin/s6-svscan /sv");
    expect(await text(tree, "etc/apk/world")).toBe("bundle=1.0-r0\ns6\ns6=1.0-r0\n");
    const { contents, entrypoint: said } = JSON.parse((await text(tree, "etc/apko.json")) ?? "");
    expect(contents.packages).toEqual(["bundle=1.0-r0", "s6=1.0-r0", "s6"]);
    expect(Object.entries(said)).toEqual([
      ["type", "service-bundle"],
      ["command", "/bin/s6-svscan /sv"],
      ["services", { db: "/bin/db", web: "/bin/web --port 80" }],
    ]);
    const lock = await lockApko(configOf(["bundle"], { entrypoint }), { ...options(), file: { name: "x", bytes: new Uint8Array() } });
    expect(lock.contents.packages.map(({ name }) => name)).toEqual(["bundle", "s6"]);
  });
});
