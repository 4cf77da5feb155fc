import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromHex, memorySource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { derivePartitionUuid, encodeSignaturePartition, partitionType, readSignaturePartition } from "../../verity/src/index.ts";
import { type Certificate, readCertificateFile } from "../src/pkcs7/certificate.ts";
import { rootHashToBeSigned, signRootHash, verifyRootHashSignature } from "../src/root-hash/sign.ts";
import { rsaSigner, rsaVerifier } from "../src/rsa.node.ts";
import { fixture, fixturePath, read, run, scratch, write } from "./helpers.ts";

const a = readCertificateFile(fixture("a.pem"))[0] as Certificate;
const b = readCertificateFile(fixture("b.pem"))[0] as Certificate;
const signer = rsaSigner(fixture("a.key"));
const rootHash = fromHex("135c84e2d37df39684cad670e940f34669d4d5568235576a8e770e3075be8664");
const sign = (hash = rootHash, certificates: readonly Certificate[] = []): Promise<Uint8Array> => signRootHash(hash, a, signer, rsaVerifier, { certificates });

/** Whether OpenSSL finds the signature good for these bytes, by the key of that certificate alone. */
function accepted(tool: "smime" | "cms", pkcs7: Uint8Array, content: Uint8Array, certificate = "a.pem", folder = scratch()): boolean {
  const files = ["-in", write(join(folder, "p7s"), pkcs7), "-content", write(join(folder, "content"), content), "-out", join(folder, "out")];
  const keys = ["-certfile", fixturePath(certificate), "-nointern", "-noverify"];
  return spawnSync("openssl", [tool, "-verify", "-binary", "-inform", "DER", ...files, ...keys]).status === 0;
}

function opensslSign(tool: "smime" | "cms", ...more: string[]): Uint8Array {
  const folder = scratch();
  const files = ["-in", write(join(folder, "content"), rootHashToBeSigned(rootHash)), "-out", join(folder, "p7s"), "-outform", "DER"];
  run("openssl", tool, "-sign", "-binary", "-noattr", ...files, "-signer", fixturePath("a.pem"), "-inkey", fixturePath("a.key"), ...more);
  return read(folder, "p7s");
}

describe("OpenSSL", () => {
  oracle("openssl")("openssl smime -sign writes the same bytes", async () => {
    expect(opensslSign("smime", "-nocerts")).toEqual(await sign());
    expect(opensslSign("smime")).toEqual(await sign(rootHash, [a]));
    expect(opensslSign("smime", "-certfile", fixturePath("b.pem"))).toEqual(await sign(rootHash, [b, a]));
  });

  oracle("openssl")("openssl smime and cms accept what is signed, for any root hash, and for no other and by no other certificate", async () => {
    const folder = scratch();
    const hash = fc.uint8Array({ minLength: 20, maxLength: 64 });
    await fc.assert(
      fc.asyncProperty(hash, hash, async (one, other) => {
        fc.pre(toHex(one) !== toHex(other));
        const pkcs7 = await sign(one);
        for (const tool of ["smime", "cms"] as const) {
          expect(accepted(tool, pkcs7, rootHashToBeSigned(one), "a.pem", folder)).toBe(true);
          expect(accepted(tool, pkcs7, rootHashToBeSigned(other), "a.pem", folder)).toBe(false);
          expect(accepted(tool, pkcs7, rootHashToBeSigned(one), "b.pem", folder)).toBe(false);
        }
      }),
      { numRuns: 5 },
    );
  });

  oracle("openssl")("openssl smime and cms refuse every altered serial number and signature", async () => {
    const folder = scratch();
    const pkcs7 = await sign();
    const serial = Buffer.from(pkcs7).indexOf(a.serialDer);
    const position = fc.oneof(
      fc.integer({ min: serial, max: serial + a.serialDer.length - 1 }),
      fc.integer({ min: pkcs7.length - 256, max: pkcs7.length - 1 }),
    );
    await fc.assert(
      fc.asyncProperty(position, fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const altered = pkcs7.slice();
        altered[at] = (altered[at] ?? 0) ^ change;
        for (const tool of ["smime", "cms"] as const) expect(accepted(tool, altered, rootHashToBeSigned(rootHash), "a.pem", folder), `byte ${at}`).toBe(false);
      }),
      { numRuns: 20 },
    );
  });

  oracle("openssl")("what OpenSSL lets pass, since no signature covers it, is refused here", async () => {
    const good = toHex(await sign());
    const replacements = [
      ["06092a864886f70d010701", "06092a864886f70d010709"],
      ["020101310f", "020104310f"],
      // The signer's name, which OpenSSL compares without regard to case and the kernel byte for byte.
      [toHex(new TextEncoder().encode("imgkit test")), toHex(new TextEncoder().encode("IMGKIT test"))],
    ] as const;
    for (const [from, to] of replacements) {
      const altered = fromHex(good.replace(from, to));
      expect(accepted("smime", altered, rootHashToBeSigned(rootHash)), to).toBe(true);
      await expect(verifyRootHashSignature(altered, rootHash, [a], rsaVerifier)).rejects.toThrow(/signature/);
    }
  });

  oracle("openssl")("what openssl cms signs, without the NULL behind SHA-256, is read and good", async () => {
    const cms = opensslSign("cms", "-nocerts");
    expect(cms.length).toBe((await sign()).length - 4);
    expect(await verifyRootHashSignature(cms, rootHash, [a], rsaVerifier)).toBe(a);
    await expect(verifyRootHashSignature(cms, new Uint8Array(32), [a], rsaVerifier)).rejects.toMatchObject({ code: "SIGNATURE_MISMATCH" });
  });

  oracle("openssl").each([
    ["attributes", "smime", ["-nocerts"]],
    ["the content in it", "smime", ["-nocerts", "-noattr", "-nodetach"]],
    ["SHA-512", "smime", ["-nocerts", "-noattr", "-md", "sha512"]],
  ] as const)("a signature with %s is refused, and what is wanted is said", async (_name, tool, flags) => {
    const folder = scratch();
    write(join(folder, "content"), rootHashToBeSigned(rootHash));
    const command = [
      tool,
      "-sign",
      "-binary",
      "-in",
      "content",
      "-out",
      "p7s",
      "-outform",
      "DER",
      "-signer",
      fixturePath("a.pem"),
      "-inkey",
      fixturePath("a.key"),
    ];
    execFileSync("openssl", [...command, ...flags], { cwd: folder, stdio: "pipe" });
    await expect(verifyRootHashSignature(read(folder, "p7s"), rootHash, [a], rsaVerifier)).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
  });

  oracle("openssl")("openssl dgst -sign makes the same signature of the exported bytes", async () => {
    const folder = scratch();
    const exported = write(join(folder, "tbs"), rootHashToBeSigned(rootHash));
    run("openssl", "dgst", "-sha256", "-sign", fixturePath("a.key"), "-out", join(folder, "signature"), exported);
    expect(await signRootHash(rootHash, a, () => read(folder, "signature"), rsaVerifier)).toEqual(await sign());
  });
});

describe("systemd-repart", () => {
  oracleRoot(
    "systemd-repart",
    "sfdisk",
    "loop",
  )("systemd-repart writes the same partition, with the same UUID, for its root hash", async () => {
    const folder = scratch();
    const seed = "6a4e1c5e-0000-4000-8000-000000000001";
    const definitions = join(folder, "definitions");
    mkdirSync(definitions);
    write(join(folder, "blocks"), pseudoRandomBytes(1, 1 << 20));
    const define = (file: string, type: string, ...lines: string[]): void =>
      writeFileSync(join(definitions, file), ["[Partition]", `Type=${type}`, "VerityMatchKey=root", ...lines, ""].join("\n"));
    define("1.conf", "root-x86-64", "Verity=data", `CopyBlocks=${join(folder, "blocks")}`);
    define("2.conf", "root-x86-64-verity", "Verity=hash");
    define("3.conf", "root-x86-64-verity-sig", "Verity=signature");
    const keys = [`--private-key=${fixturePath("a.key")}`, `--certificate=${fixturePath("a.pem")}`];
    const disk = join(folder, "disk.raw");
    run("systemd-repart", "--empty=create", "--size=auto", "--dry-run=no", `--seed=${seed}`, `--definitions=${definitions}`, ...keys, disk);
    const { partitions } = JSON.parse(run("sfdisk", "--json", disk)).partitiontable;
    const { start, size, type, uuid } = partitions[2];
    const theirs = read(disk).slice(start * 512, (start + size) * 512);
    const found = await readSignaturePartition(memorySource(theirs));
    const ours = { rootHash: found.rootHash, certificateFingerprint: fromHex(a.fingerprint), signature: await sign(found.rootHash, [a]) };
    expect(encodeSignaturePartition(ours)).toEqual(theirs);
    expect(await verifyRootHashSignature(found.signature, found.rootHash, [a], rsaVerifier)).toBe(a);
    expect([type, uuid].map((text) => text.toLowerCase())).toEqual([
      partitionType("root-x86-64-verity-sig"),
      derivePartitionUuid(seed, partitionType("root-x86-64-verity-sig") ?? ""),
    ]);
    const halves = toHex(found.rootHash).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5-");
    expect(halves.startsWith(partitions[0].uuid.toLowerCase())).toBe(true);
  });
});

describe("the recipe of docs/bytes/verity-sig-1.md", () => {
  oracle("openssl")("OpenSSL and the shell make the same signature and the same partition, bit for bit", async () => {
    const folder = scratch();
    write(join(folder, "root.hash"), rootHashToBeSigned(rootHash));
    write(join(folder, "key.pem"), fixture("a.key"));
    write(join(folder, "cert.pem"), fixture("a.pem"));
    const page = readFileSync(new URL("../../../docs/bytes/verity-sig-1.md", import.meta.url), "utf8");
    const recipe = page.split("```sh\n")[1]?.split("```")[0] ?? "";
    const printed = execFileSync("sh", ["-euc", recipe], { cwd: folder, encoding: "utf8", stdio: "pipe" });
    const signature = await sign();
    const partition = encodeSignaturePartition({ rootHash, certificateFingerprint: fromHex(a.fingerprint), signature });
    expect(printed).toBe(`${toHex(nativeSha256.hash(signature))}  -\n${toHex(nativeSha256.hash(partition))}  -\n`);
  });
});
