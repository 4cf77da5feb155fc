import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { memorySource } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { realData, withRealData } from "../../../test/apk-data.ts";
import { nodeGunzip, nodeRsa } from "../src/index.node.ts";
import {
  ApkError,
  checkAgainstIndex,
  checkData,
  type KeyRing,
  openApk,
  type PackageInfo,
  parseIndex,
  parsePublicKey,
  readIndex,
  type SubtleLike,
  type Trust,
  webCryptoRsa,
} from "../src/index.ts";
import { entry, indexFile, type MadeApk, makeApk, makeSigner, type Signer, signed } from "./support.ts";

let signer: Signer;
let stranger: Signer;
let trust: Trust;
beforeAll(() => {
  signer = makeSigner("ours.rsa.pub");
  stranger = makeSigner("theirs.rsa.pub");
  trust = { keys: ring(signer), rsa: nodeRsa };
});

const ring = (...signers: readonly Signer[]): KeyRing => new Map(signers.map(({ name, pem }) => [name, parsePublicKey(pem, name)]));
const read = (bytes: Buffer, who: Trust = trust) => readIndex(memorySource(new Uint8Array(bytes)), { trust: who });
const open = (bytes: Buffer, who?: Trust) => openApk(memorySource(new Uint8Array(bytes)), { name: "p.apk", ...(who === undefined ? {} : { trust: who }) });
const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe("an index", () => {
  test("is what it lists, and names the key that signed it, by either hash and either engine", async () => {
    const body = indexFile([entry({ name: "a", depends: ["b>1", "so:c"], provides: ["cmd:a=1.0-r0"] }), entry({ name: "b", version: "2-r1" })]);
    for (const kind of ["RSA", "RSA256"] as const) {
      for (const rsa of [nodeRsa, webCryptoRsa(webcrypto.subtle as unknown as SubtleLike)]) {
        const { packages, key } = await read(signed(body, signer, kind), { ...trust, rsa });
        expect(key).toBe("ours.rsa.pub");
        expect(packages.map(({ name, version, depends }) => [name, version, depends])).toEqual([
          ["a", "1.0-r0", ["b>1", "so:c"]],
          ["b", "2-r1", []],
        ]);
      }
    }
  });

  test("that was altered anywhere behind its signature is refused", async () => {
    const bytes = signed(indexFile([entry({ name: "a" })]), signer);
    const { end } = (await open(makeApk({ name: "x", signer }).bytes)).ranges.signature ?? { end: 0 };
    for (let at = end + 20; at < bytes.length; at += 7) {
      const bad = Buffer.from(bytes);
      bad[at] = (bad[at] as number) ^ 1;
      await expect(read(bad)).rejects.toThrow();
    }
    await expect(read(Buffer.concat([bytes, indexFile([entry({ name: "evil" })])]))).rejects.toThrow(code("BAD_SIGNATURE"));
  });

  test("by a key that is not trusted, by another key of a trusted name, or by nobody is refused", async () => {
    const body = indexFile([entry({ name: "a" })]);
    await expect(read(signed(body, stranger))).rejects.toThrow(code("UNKNOWN_KEY"));
    await expect(read(signed(body, { ...stranger, name: signer.name }))).rejects.toThrow(code("BAD_SIGNATURE"));
    await expect(read(body)).rejects.toThrow(code("BAD_SIGNATURE"));
    expect(await readIndex(memorySource(new Uint8Array(body)), { trust: undefined })).toMatchObject({ key: undefined, packages: [{ name: "a" }] });
  });

  test("of which a second one stands behind the first says so", async () => {
    const body = indexFile([entry({ name: "a" })]);
    await expect(readIndex(memorySource(new Uint8Array(Buffer.concat([body, body]))), { trust: undefined })).rejects.toThrow(code("BAD_INDEX"));
  });

  test.each([
    ["no field", "C:Q1\nnonsense\n"],
    ["no checksum", "P:a\nV:1\nA:x86_64\n"],
    ["no name", entry({ name: "a" }).replace("P:a\n", "")],
    ["a name that is a path", entry({ name: "a" }).replace("P:a\n", "P:../a\n")],
    ["a version that is a path", entry({ name: "a", version: "1/../../x" })],
    ["an architecture that is a path", entry({ name: "a", architecture: ".." })],
    ["a field that stands twice", `${entry({ name: "a" })}P:b\n`],
    ["a size that is no number", `${entry({ name: "a" })}S:1e9\n`],
  ])("with %s is refused with its line", (_, text) => {
    expect(() => parseIndex(text, "I")).toThrow(expect.objectContaining({ code: "BAD_INDEX", message: expect.stringMatching(/^I:\d+: /) }));
  });
});

describe("a package", () => {
  let made: MadeApk;
  let listed: PackageInfo;
  beforeAll(async () => {
    made = makeApk({ name: "hello", signer });
    [listed] = parseIndex(entry({ name: "hello", checksum: made.checksum })) as [PackageInfo];
  });

  test("has its control data, its checksum, the ranges of its members, and data of the right hash", async () => {
    for (const kind of ["RSA", "RSA256"] as const) {
      const { bytes, checksum } = makeApk({ name: "hello", signer, kind });
      const apk = await open(bytes, trust);
      expect(apk).toMatchObject({ checksum, key: signer.name, info: { name: "hello", version: "1.0-r0", depends: ["so:libc.so", "b>1"] } });
      expect(apk.control.get(".post-install")?.type).toBe("file");
      const { signature, control, data } = apk.ranges;
      expect([signature?.start, signature?.end, control.end, data.end]).toEqual([0, control.start, data.start, bytes.length]);
      expect(gunzipSync(bytes.subarray(data.start)).subarray(0, 3).toString()).toBe("usr");
      await checkData(apk, "p.apk");
      checkAgainstIndex(apk, { ...listed, checksum }, "p.apk");
    }
    expect((await open(makeApk({ name: "hello" }).bytes)).ranges.signature).toBeUndefined();
  });

  test("that is not the one in the index is refused, however well it is signed", async () => {
    const other = await open(makeApk({ name: "hello", signer, files: { "usr/bin/hello": "evil\n" } }).bytes, trust);
    expect(() => checkAgainstIndex(other, listed, "p.apk")).toThrow(code("CHECKSUM_MISMATCH"));
    const renamed = await open(makeApk({ name: "goodbye", signer }).bytes, trust);
    expect(() => checkAgainstIndex(renamed, listed, "p.apk")).toThrow(code("NOT_IN_INDEX"));
  });

  test("whose data was changed after it was signed is refused", async () => {
    const files = { etc: "" };
    const other = makeApk({ name: "x", files }).bytes;
    const data = other.subarray((await open(other)).ranges.data.start);
    const apk = await open(makeApk({ name: "hello", signer, alter: () => data }).bytes, trust);
    await expect(checkData(apk, "p.apk")).rejects.toThrow(code("CHECKSUM_MISMATCH"));
  });

  test("without a signature, by a stranger, with a key name that is a path, or of format 3 is refused", async () => {
    await expect(open(makeApk({ name: "hello" }).bytes, trust)).rejects.toThrow(code("BAD_SIGNATURE"));
    await expect(open(makeApk({ name: "hello", signer: stranger }).bytes, trust)).rejects.toThrow(code("UNKNOWN_KEY"));
    await expect(open(makeApk({ name: "hello", signer: { ...signer, name: "../ours.rsa.pub" } }).bytes, trust)).rejects.toThrow(ApkError);
    await expect(open(Buffer.from("ADB.xxxxxxxx"))).rejects.toThrow(code("BAD_PACKAGE"));
  });

  test.each([
    ["no .PKGINFO", { control: { other: "x" } }],
    ["no hash of its data", { change: (text: string) => text.replace(/datahash.*\n/, "") }],
    ["a hash that is none", { change: (text: string) => text.replace(/datahash = ./, "datahash = x") }],
    ["a name that is a path", { change: (text: string) => text.replace("pkgname = hello", "pkgname = ../hello") }],
    ["a line that is no field", { change: (text: string) => `${text}what\n` }],
  ])("with %s is refused", async (_, options) => {
    const { bytes } = makeApk({ name: "hello", ...options });
    await expect(open(bytes).then((apk) => checkData(apk, "p.apk"))).rejects.toThrow(code("BAD_PACKAGE"));
  });

  test("whatever is done to its bytes, it is read or refused by a typed error, and never passes for what the index lists", async () => {
    const { bytes } = made;
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(3), async (at, value, kind) => {
        const bad = kind === 0 ? bytes.subarray(0, at) : Buffer.from(bytes);
        if (kind > 0) bad[at] = value;
        if (bad.equals(bytes)) return;
        try {
          const apk = await open(bad, trust);
          checkAgainstIndex(apk, listed, "p.apk");
          await checkData(apk, "p.apk");
          // What nothing hashes: the header of the signature's own gzip member.
          expect(apk.ranges.signature?.end).toBeGreaterThan(at);
        } catch (error) {
          expect(error).toMatchObject({ code: expect.any(String), kind: "input" });
        }
      }),
      { numRuns: 400 },
    );
  });
});

test.each(["", "-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])(
  "%j is no key",
  (pem) => {
    expect(() => parsePublicKey(pem, "k")).toThrow(code("BAD_KEY"));
  },
);

test("a key that is no RSA key is refused by name", async () => {
  const keys = new Map([[signer.name, parsePublicKey("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "k")]]);
  await expect(read(signed(indexFile([entry({ name: "a" })]), signer), { ...trust, keys })).rejects.toThrow(code("BAD_KEY"));
});

describe("real ones", () => {
  const key = (name: string): KeyRing => new Map([[name, parsePublicKey(readFileSync(join(realData, "alpine-316", name), "utf8"), name)]]);

  withRealData("Alpine's index of 4,929 packages verifies against its key, and against no other", async () => {
    const index = openFile(join(realData, "alpine-316", "APKINDEX.tar.gz"));
    const name = "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub";
    const other = "alpine-devel@lists.alpinelinux.org-616ae350.rsa.pub";
    expect((await readIndex(index, { trust: { keys: key(name), rsa: nodeRsa }, gunzip: nodeGunzip })).packages).toHaveLength(4929);
    await expect(readIndex(index, { trust: { keys: key(other), rsa: nodeRsa }, gunzip: nodeGunzip })).rejects.toThrow(code("UNKNOWN_KEY"));
    const [wrong] = [...key(other).values()];
    const disguised = new Map([[name, wrong as Uint8Array]]);
    await expect(readIndex(index, { trust: { keys: disguised, rsa: nodeRsa }, gunzip: nodeGunzip })).rejects.toThrow(code("BAD_SIGNATURE"));
    index.close();
  });

  withRealData("packages of Alpine, Wolfi and melange hold to their own hashes; ranges and checksums are those in apko's lock", async () => {
    const lock = JSON.parse(readFileSync(join(realData, "testdata", "apko.lock.json"), "utf8"));
    for (const { url, checksum, signature, control, data } of lock.contents.packages) {
      const file = openFile(join(realData, url));
      const apk = await openApk(file, { name: url });
      await checkData(apk, url);
      const range = ({ start, end }: { start: number; end: number }) => `bytes=${start}-${end - 1}`;
      expect([apk.checksum, range(apk.ranges.signature ?? { start: 0, end: 0 }), range(apk.ranges.control), range(apk.ranges.data)]).toEqual([
        checksum,
        signature.range,
        control.range,
        data.range,
      ]);
      file.close();
    }
    for (const [path, name] of [
      ["hello-wolfi-2.12.1-r0.apk", "hello-wolfi"],
      ["alpine-316/alpine-baselayout-3.2.0-r23.apk", "alpine-baselayout"],
    ] as const) {
      const file = openFile(join(realData, path));
      const apk = await openApk(file, { name: path, gunzip: nodeGunzip });
      await checkData(apk, path);
      expect(apk.info.name).toBe(name);
      file.close();
    }
  });
});
