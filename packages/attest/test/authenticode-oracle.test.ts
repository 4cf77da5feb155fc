import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteSource, memorySource, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256, openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { authenticodeHash, createUki, readCertificates, withCertificates } from "@imgkit/disk";
import { beforeAll, describe, expect } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { makeKernel, makePe } from "../../disk/test/pe-helpers.ts";
import { attachSignature, imageToBeSigned, readSignatures, signImage } from "../src/authenticode/image.ts";
import { type Certificate, readCertificateFile } from "../src/pkcs7/certificate.ts";
import { rsaSigner, rsaVerifier } from "../src/rsa.node.ts";
import { fixture, fixturePath, read, run, scratch, write } from "./helpers.ts";

const a = readCertificateFile(fixture("a.pem"))[0] as Certificate;
const signer = rsaSigner(fixture("a.key"));

/** A file in a folder of its own. */
async function save(image: ByteSource, name = "image.efi"): Promise<string> {
  const file = join(scratch(), name);
  await writeFileAtomic(file, streamSource(image));
  return file;
}

const fails = (tool: string, ...args: string[]): string => {
  try {
    run(tool, ...args);
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    return `${stdout}${stderr}`;
  }
  throw new Error(`${tool} ${args.join(" ")} went well`);
};

let uki: ByteSource;
let unsigned: string;
let signed: string;
beforeAll(async () => {
  uki = await createUki({
    stub: memorySource(makePe({ symbols: 2 })),
    linux: memorySource(makeKernel()),
    initrds: [memorySource(pseudoRandomBytes(1, 100_001))],
    commandLine: "quiet",
  });
  unsigned = await save(uki);
  signed = await save(await signImage(uki, a, signer, rsaVerifier));
});

describe("sbsigntool", () => {
  oracle("sbverify")("sbverify accepts what is signed, and not by another certificate", () => {
    expect(run("sbverify", "--cert", fixturePath("a.pem"), signed)).toContain("Signature verification OK");
    expect(fails("sbverify", "--cert", fixturePath("b.pem"), signed)).toContain("Signature verification failed");
    expect(run("sbverify", "--list", signed)).toMatch(/signature 1[\s\S]*imgkit test a/);
  });

  oracle("sbverify")("sbverify refuses an altered image", () => {
    for (const at of [0x90, 2000, 50_000]) {
      const bytes = read(signed);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      expect(fails("sbverify", "--cert", fixturePath("a.pem"), write(join(scratch(), "altered.efi"), bytes))).toMatch(/failed|Invalid|invalid/);
    }
  });

  oracle("sbverify", "sbattach")("sbattach takes the signature off and puts it on again, and all three images are ours", async () => {
    const detached = join(scratch(), "signature.p7");
    const copy = await save(openFile(signed));
    run("sbattach", "--detach", detached, "--remove", copy);
    expect(read(copy)).toEqual(read(await save(await withCertificates(uki, []))));
    run("sbattach", "--attach", detached, copy);
    expect(read(copy)).toEqual(read(signed));
    const ours = await attachSignature(openFile(unsigned), read(detached), rsaVerifier);
    expect(read(await save(ours))).toEqual(read(signed));
  });

  oracle("sbsign")("an image that sbsign signed is read, and its hash is ours", async () => {
    const theirs = join(scratch(), "theirs.efi");
    run("sbsign", "--key", fixturePath("a.key"), "--cert", fixturePath("a.pem"), "--output", theirs, unsigned);
    const [one, ...more] = await readSignatures(openFile(theirs), rsaVerifier);
    expect(more).toEqual([]);
    expect([one?.problem, one?.signed?.signer?.fingerprint]).toEqual([undefined, a.fingerprint]);
    expect(toHex(one?.signed?.imageHash ?? new Uint8Array())).toBe(toHex(await authenticodeHash(uki)));
  });

  oracle("sbsign", "sbverify")("what sbsign --detached made elsewhere is attached, and sbsign's own image comes of it", async () => {
    const folder = scratch();
    // The time in both signatures is the same only if they are one.
    run("sbsign", "--detached", "--key", fixturePath("a.key"), "--cert", fixturePath("a.pem"), "--output", join(folder, "signature.p7"), unsigned);
    const ours = await save(await attachSignature(uki, read(folder, "signature.p7"), rsaVerifier));
    expect(run("sbverify", "--cert", fixturePath("a.pem"), ours)).toContain("Signature verification OK");
    const copy = await save(uki);
    run("sbattach", "--attach", join(folder, "signature.p7"), copy);
    expect(read(copy)).toEqual(read(ours));
  });

  oracle("sbsign", "sbverify")("two signatures, one of each tool and in either order, are both good to both", async () => {
    const b = readCertificateFile(fixture("b.pem"))[0] as Certificate;
    const ours = await save(await signImage(uki, a, signer, rsaVerifier));
    const oursFirst = join(scratch(), "both.efi");
    run("sbsign", "--key", fixturePath("b.key"), "--cert", fixturePath("b.pem"), "--output", oursFirst, ours);
    const theirs = join(scratch(), "theirs.efi");
    run("sbsign", "--key", fixturePath("b.key"), "--cert", fixturePath("b.pem"), "--output", theirs, unsigned);
    const theirsFirst = await save(await signImage(openFile(theirs), a, signer, rsaVerifier));
    for (const [file, order] of [
      [oursFirst, [a, b]],
      [theirsFirst, [b, a]],
    ] as const) {
      const found = await readSignatures(openFile(file), rsaVerifier);
      expect(found.map(({ problem, signed }) => [problem, signed?.signer?.subject])).toEqual(order.map(({ subject }) => [undefined, subject]));
      for (const name of ["a.pem", "b.pem"]) expect(run("sbverify", "--cert", fixturePath(name), file)).toContain("Signature verification OK");
    }
  });
});

describe("the recipe of docs/bytes/authenticode-1.md", () => {
  oracle(
    "openssl",
    "sbattach",
    "xxd",
    "iconv",
  )("OpenSSL and sbattach make the same signed image, bit for bit", async () => {
    const folder = scratch();
    await writeFileAtomic(join(folder, "image.efi"), streamSource(uki));
    write(join(folder, "key.pem"), fixture("a.key"));
    write(join(folder, "cert.pem"), fixture("a.pem"));
    const page = readFileSync(new URL("../../../docs/bytes/authenticode-1.md", import.meta.url), "utf8");
    const recipe = page.split("```sh\n")[1]?.split("```")[0] ?? "";
    const printed = execFileSync("sh", ["-euc", recipe], { cwd: folder, encoding: "utf8", stdio: "pipe" });
    expect(printed).toBe(`${toHex(nativeSha256.hash(read(signed)))}  -\n`);
  });
});

describe("signing elsewhere", () => {
  oracle("openssl", "sbverify")("openssl dgst -sign makes the same image of the exported bytes", async () => {
    const folder = scratch();
    const exported = write(join(folder, "tbs"), await imageToBeSigned(uki));
    run("openssl", "dgst", "-sha256", "-sign", fixturePath("a.key"), "-out", join(folder, "signature"), exported);
    const image = await signImage(uki, a, () => read(folder, "signature"), rsaVerifier);
    expect(read(await save(image))).toEqual(read(signed));
  });

  oracle("openssl")("openssl reads the PKCS #7 and finds the signature good", async () => {
    const [entry] = await readCertificates(openFile(signed));
    const folder = scratch();
    const p7 = write(join(folder, "p7"), entry?.bytes ?? new Uint8Array());
    expect(run("openssl", "pkcs7", "-inform", "DER", "-in", p7, "-print_certs", "-noout")).toContain("imgkit test a");
    // DER that is written again by OpenSSL is the same: it was DER.
    run("openssl", "pkcs7", "-inform", "DER", "-in", p7, "-outform", "DER", "-out", join(folder, "again"));
    expect(read(folder, "again")).toEqual(entry?.bytes);
  });
});

describe("a second opinion", () => {
  oracle("osslsigncode")("osslsigncode computes the same hash and finds the signature good", async () => {
    const printed = run("osslsigncode", "verify", "-CAfile", fixturePath("a.pem"), "-in", signed);
    const hash = toHex(await authenticodeHash(uki)).toUpperCase();
    expect(printed.match(/Current message digest\s*:\s*(\S+)/)?.[1]).toBe(hash);
    expect(printed.match(/Calculated message digest\s*:\s*(\S+)/)?.[1] ?? hash).toBe(hash);
    expect(printed).toMatch(/Signature verification: ok/);
  });

  oracle("pesign")("pesign computes the same hash and lists the signer", async () => {
    const printed = execFileSync("pesign", ["-h", "-i", signed], { encoding: "utf8" });
    expect(printed).toContain(toHex(await authenticodeHash(uki)));
    expect(run("pesign", "-S", "-i", signed)).toContain("imgkit test a");
  });
});
