import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { epoch, expectFailure, here, json, Scratch } from "./cli.ts";

// `imgkit verity sign` and `attach`, `imgkit disk --verity-key` and `imgkit verify --verity-cert`: signatures of root hashes.

const scratch = new Scratch("verity-sign");
afterAll(() => scratch.remove());
const keys = fileURLToPath(new URL("../../attest/test/keys/", import.meta.url));
const [key, cert] = [`${keys}a.key`, `${keys}a.pem`];
const rootHash = "135c84e2d37df39684cad670e940f34669d4d5568235576a8e770e3075be8664";

async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await here(args);
  expect(code, stderr).toBe(0);
  return stdout.toString();
}

let folder: string;
let plain: string;
let hash: string;
beforeAll(async () => {
  folder = scratch.at("tree");
  fs.mkdirSync(`${folder}/usr/lib`, { recursive: true });
  fs.mkdirSync(`${folder}/etc`);
  fs.writeFileSync(`${folder}/etc/os-release`, "ID=test\n");
  fs.writeFileSync(`${folder}/usr/lib/file`, "file\n".repeat(5000));
  plain = scratch.at("plain.raw");
  hash = JSON.parse(await done("disk", folder, "-o", plain, ...epoch, "--json")).rootHash;
});

const copyOf = (file: string, name: string): string => {
  fs.copyFileSync(file, scratch.at(name));
  return scratch.at(name);
};
const digest = (file: string): string => execFileSync("sha256sum", [file], { encoding: "utf8" }).slice(0, 64);

describe("a root hash", () => {
  oracle("openssl")("is signed bit for bit as openssl smime signs it, and openssl accepts it", async () => {
    const signature = scratch.at("root.p7s");
    const document = JSON.parse(await done("verity", "sign", rootHash.toUpperCase(), "--key", key, "--cert", cert, "-o", signature, "--json"));
    expect(document).toMatchObject({
      command: "verity sign",
      rootHash,
      signer: { subject: expect.stringContaining("imgkit test a") },
      output: { path: signature },
    });
    const text = scratch.write("root.hash", rootHash);
    const smime = ["smime", "-sign", "-binary", "-noattr", "-nocerts", "-in", text, "-signer", cert, "-inkey", key, "-outform", "DER"];
    expect(Buffer.compare(execFileSync("openssl", smime), fs.readFileSync(signature))).toBe(0);
    const verify = ["smime", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", text, "-certfile", cert, "-nointern", "-CAfile", cert];
    expect(execFileSync("openssl", verify, { stdio: ["ignore", "pipe", "ignore"] }).toString()).toBe(rootHash);
  });

  oracle("openssl")("signed elsewhere is the same signature: exported, signed by openssl, joined; or a whole one by openssl", async () => {
    const [tbs, bare, whole] = [scratch.at("tbs"), scratch.at("bare"), scratch.at("whole")];
    await done("verity", "sign", rootHash, "--export-digest", tbs);
    expect(fs.readFileSync(tbs, "utf8")).toBe(rootHash);
    execFileSync("openssl", ["dgst", "-sha256", "-sign", key, "-out", bare, tbs]);
    execFileSync("openssl", ["smime", "-sign", "-binary", "-noattr", "-nocerts", "-in", tbs, "-signer", cert, "-inkey", key, "-outform", "DER", "-out", whole]);
    const outputs = ["here", "joined", "taken"].map((name) => scratch.at(name)) as [string, string, string];
    await done("verity", "sign", rootHash, "--key", key, "--cert", cert, "-o", outputs[0]);
    await done("verity", "attach", rootHash, "--signature", bare, "--cert", cert, "-o", outputs[1]);
    await done("verity", "attach", rootHash, "--pkcs7", whole, "--cert", cert, "-o", outputs[2]);
    expect(new Set(outputs.map(digest)).size).toBe(1);
    const other = rootHash.replace("1", "2");
    for (const how of [
      ["--signature", bare],
      ["--pkcs7", whole],
    ]) {
      expectFailure(
        await here(["verity", "attach", other, ...how, "--cert", cert, "-o", scratch.at("never")]),
        2,
        /another (root hash|key)|not of this root hash/,
      );
      expectFailure(await here(["verity", "attach", rootHash, ...how, "--cert", `${keys}b.pem`, "-o", scratch.at("never")]), 2, /certificate/);
    }
    expect(fs.existsSync(scratch.at("never"))).toBe(false);
  });

  test("of a certificate file with several, all go along", async () => {
    const both = scratch.write("both.pem", fs.readFileSync(cert, "utf8") + fs.readFileSync(`${keys}b.pem`, "utf8"));
    const signature = scratch.at("both.p7s");
    await done("verity", "sign", rootHash, "--key", key, "--cert", both, "-o", signature);
    expect(fs.statSync(signature).size).toBeGreaterThan(434 + 2 * 800);
  });

  test.each([
    ["no key", ["sign", rootHash, "--cert", cert, "-o", "x"], /--key and --cert/],
    ["no output", ["sign", rootHash, "--key", key, "--cert", cert], /no output/],
    ["an export and a key", ["sign", rootHash, "--key", key, "--export-digest", "x"], /--export-digest goes with none/],
    ["two signatures", ["attach", rootHash, "--signature", key, "--pkcs7", key, "--cert", cert, "-o", "x"], /--signature or --pkcs7/],
    ["no certificate", ["attach", rootHash, "--signature", key, "-o", "x"], /attach needs --cert/],
    ["the root hash twice", ["sign", rootHash, "--root-hash", rootHash, "--key", key, "--cert", cert, "-o", "x"], /--root-hash is for a disk/],
    ["a key that is not the certificate's", ["sign", rootHash, "--key", `${keys}b.key`, "--cert", cert, "-o", "x"], /not by the certificate's key/],
    ["neither a root hash nor a disk", ["sign", "1234", "--key", key, "--cert", cert], /1234: no such file/],
  ])("%s is refused", async (_name, args, why) => {
    expectFailure(await here(["verity", ...args]), 2, why);
  });
});

describe("a tree", () => {
  test("is verified against a root hash and its signature, and not against another's or by another certificate", async () => {
    const [data, tree, p7s] = [scratch.write("data", new Uint8Array(1 << 20).fill(7)), scratch.at("tree.verity"), scratch.at("data.p7s")];
    const { rootHash: own } = JSON.parse(await done("verity", "format", data, tree, "--json"));
    await done("verity", "sign", own, "--key", key, "--cert", cert, "-o", p7s);
    const verify = (...more: string[]) => here(["verity", "verify", data, tree, own, "--root-hash-signature", p7s, ...more]);
    const good = await verify("--cert", cert);
    expect([good.code, good.stdout.toString()]).toEqual([0, expect.stringMatching(/^Verified against the given root hash, signed by CN=imgkit test a.*\n$/)]);
    const bad = await verify("--cert", `${keys}b.pem`);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringMatching(/data\.p7s: the signature is by none of the given certificates/)]);
    expect(JSON.parse((await verify("--cert", cert, "--json")).stdout.toString())).toMatchObject({ ok: true, signature: { ok: true, signedBy: {} } });
    await done("verity", "sign", rootHash, "--key", key, "--cert", cert, "-o", p7s);
    const { code, stdout } = await verify("--cert", cert, "--json");
    expect([code, JSON.parse(stdout.toString())]).toMatchObject([1, { ok: false, anchor: "the given root hash", signature: { ok: false } }]);
    expectFailure(await verify(), 2, /--root-hash-signature and --cert go together/);
  });
});

describe("a disk", () => {
  let signed: string;
  beforeAll(async () => {
    signed = scratch.at("signed.raw");
    await done("disk", folder, "-o", signed, ...epoch, "--verity-key", key, "--verity-cert", cert);
  });

  test("signed while it is made, afterwards, again, in place or elsewhere is the same disk", async () => {
    const later = copyOf(plain, "later.raw");
    const printed = JSON.parse(await done("verity", "sign", later, "--key", key, "--cert", cert, "--json"));
    expect(printed.signatures).toMatchObject([{ rootHash: hash, data: 1, veritySig: 3 }]);
    expect(digest(later)).toBe(digest(signed));
    await done("verity", "sign", later, "--key", key, "--cert", cert);
    expect(digest(later)).toBe(digest(signed));
    const [tbs, bare, export2] = [scratch.at("disk.tbs"), scratch.at("disk.bare"), scratch.at("export.tbs")];
    await done("verity", "sign", plain, "--export-digest", tbs);
    await done("disk", folder, "-o", scratch.at("unsigned.raw"), ...epoch, "--verity-export", export2);
    expect([fs.readFileSync(tbs, "utf8"), fs.readFileSync(export2, "utf8"), digest(scratch.at("unsigned.raw"))]).toEqual([hash, hash, digest(plain)]);
    execFileSync("openssl", ["dgst", "-sha256", "-sign", key, "-out", bare, tbs]);
    await done("verity", "attach", plain, "--signature", bare, "--cert", cert, "-o", scratch.at("attached.raw"));
    await done("disk", folder, "-o", scratch.at("joined.raw"), ...epoch, "--verity-signature", bare, "--verity-cert", cert);
    expect([digest(scratch.at("attached.raw")), digest(scratch.at("joined.raw"))]).toEqual([digest(signed), digest(signed)]);
  });

  test("is verified against the certificate, and the verdict says so", async () => {
    const good = await here(["verify", signed, "--verity-cert", cert]);
    expect([good.code, good.stderr]).toEqual([0, ""]);
    expect(good.stdout.toString()).toMatch(/verified against the signature of its root hash by CN=imgkit test a/);
    const document = json(await here(["verify", signed, "--verity-cert", cert, "--root-hash", hash, "--json"]));
    expect(document).toMatchObject({ ok: true, unprotected: [], anchor: expect.stringMatching(/^the given root hash and the signature/) });
    expect(document.pairs).toMatchObject([{ signature: { partition: 3 }, signedBy: { fingerprint: expect.stringMatching(/^sha256:/) } }]);
    const alone = await here(["verify", signed]);
    expect(alone.stdout.toString()).toMatch(/consistent with itself/);
    expect(alone.stderr).toMatch(/partition 3 is covered by no root hash/);
  });

  test("is not verified against another certificate, nor one without a signature", async () => {
    for (const args of [
      [signed, "--verity-cert", `${keys}b.pem`],
      [plain, "--verity-cert", cert],
    ]) {
      const { code, stdout } = await here(["verify", ...args, "--json"]);
      expect(code).toBe(1);
      expect(JSON.parse(stdout.toString())).toMatchObject({ ok: false, findings: [{ code: "SIGNATURE" }] });
    }
    expectFailure(await here(["verify", signed, "--root-hash-signature", key]), 2, /no certificate/);
    const tar = scratch.write("empty.tar", new Uint8Array(10240));
    expectFailure(await here(["verify", tar, "--as", "tar", "--verity-cert", cert]), 2, /--verity-cert is not for a tar/);
  });

  test("without a signature is verified against one in a file", async () => {
    const file = scratch.at("detached.p7s");
    await done("verity", "sign", hash, "--key", key, "--cert", cert, "-o", file);
    await done("verify", plain, "--verity-cert", cert, "--root-hash-signature", file);
    await done("verity", "sign", rootHash, "--key", key, "--cert", cert, "-o", file);
    expect((await here(["verify", plain, "--verity-cert", cert, "--root-hash-signature", file])).code).toBe(1);
  });

  test("whose signature is of another disk, or damaged, is not verified, with and without a certificate", async () => {
    const other = scratch.at("other.raw");
    fs.writeFileSync(`${folder}/etc/more`, "more");
    await done("disk", folder, "-o", other, ...epoch, "--verity-key", key, "--verity-cert", cert);
    fs.rmSync(`${folder}/etc/more`);
    const bytes = fs.readFileSync(signed);
    const foreign = fs.readFileSync(other).subarray(3 << 20, (3 << 20) + 16384);
    for (const [name, content] of [
      ["foreign.raw", foreign],
      ["empty.raw", new Uint8Array(16384)],
    ] as const) {
      const file = scratch.write(name, Buffer.concat([bytes.subarray(0, 3 << 20), content, bytes.subarray((3 << 20) + 16384)]));
      const { code, stdout } = await here(["verify", file, "--json"]);
      expect([code, JSON.parse(stdout.toString()).findings.map((finding: { code: string }) => finding.code)]).toEqual([1, ["SIGNATURE"]]);
      expect((await here(["verify", file, "--verity-cert", cert])).code).toBe(1);
      // Signing again makes it right.
      await done("verity", "sign", file, "--key", key, "--cert", cert);
      expect(digest(file)).toBe(digest(signed));
    }
  });

  test("that is not what its root hash says is not signed", async () => {
    const damaged = copyOf(plain, "damaged.raw");
    const fd = fs.openSync(damaged, "r+");
    fs.writeSync(fd, "damaged", (1 << 20) + 2000);
    fs.closeSync(fd);
    const before = digest(damaged);
    const { code, stderr } = await here(["verity", "sign", damaged, "--key", key, "--cert", cert]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/NOT signed/);
    expect(digest(damaged)).toBe(before);
    expect((await here(["verity", "sign", plain, "--root-hash", rootHash, "--key", key, "--cert", cert])).code).toBe(1);
  });

  test("with root and /usr has a signature for each, and one that was made elsewhere names its root hash", async () => {
    const split = scratch.at("split.raw");
    const document = JSON.parse(await done("disk", folder, "-o", split, ...epoch, "--split", "usr", "--verity-key", key, "--verity-cert", cert, "--json"));
    expect(document.partitions.map(({ typeName }: { typeName: string }) => typeName)).toEqual(
      ["root", "usr"].flatMap((use) => ["", "-verity", "-verity-sig"].map((end) => `${use}-x86-64${end}`)),
    );
    expect(document.pairs).toMatchObject([
      { data: 1, verity: 2, veritySig: 3 },
      { data: 4, verity: 5, veritySig: 6 },
    ]);
    await done("verify", split, "--verity-cert", cert);
    const [, usr] = document.pairs;
    expectFailure(await here(["verity", "sign", split, "--export-digest", scratch.at("split.tbs")]), 2, /several root hashes/);
    await done("verity", "sign", split, "--export-digest", scratch.at("split.tbs"), "--root-hash", usr.rootHash);
    expect(fs.readFileSync(scratch.at("split.tbs"), "utf8")).toBe(usr.rootHash);
    expectFailure(
      await here(["disk", folder, "-o", scratch.at("never"), ...epoch, "--split", "usr", "--verity-export", scratch.at("x")]),
      2,
      /two root hashes/,
    );
  });

  test.each([
    ["a key and no certificate", ["--verity-key", key], /no certificate/],
    ["a certificate alone", ["--verity-cert", cert], /no signature/],
    ["a key and a signature", ["--verity-key", key, "--verity-signature", key, "--verity-cert", cert], /--verity-key and --verity-signature/],
    ["a passphrase alone", ["--verity-passphrase-file", key], /no key/],
    ["a signature of something else", ["--verity-signature", key, "--verity-cert", cert], /not of this root hash/],
  ])("imgkit disk with %s is refused, and leaves no disk", async (_name, args, why) => {
    expectFailure(await here(["disk", folder, "-o", scratch.at("refused.raw"), ...epoch, ...args]), 2, why);
    expect(fs.existsSync(scratch.at("refused.raw"))).toBe(false);
  });

  test("--record names the disk, the certificate and the outcome, and no key", async () => {
    const record = scratch.at("record.json");
    await done("verity", "sign", plain, "-o", scratch.at("recorded.raw"), "--key", key, "--cert", cert, "--record", record);
    const { inputs, outputs } = JSON.parse(fs.readFileSync(record, "utf8"));
    expect(inputs.map(({ name }: { name: string }) => name)).toEqual([plain, cert]);
    expect(outputs).toMatchObject([{ digest: `sha256:${digest(signed)}` }]);
  });

  oracleRoot(
    "systemd-dissect",
    "sgdisk",
    "sfdisk",
    "loop",
  )("systemd-dissect reads the signature, and sgdisk and sfdisk find no fault", async () => {
    const dissect = (file: string) =>
      JSON.parse(execFileSync("systemd-dissect", ["--json=short", file], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
    expect(dissect(signed).mounts).toMatchObject([
      { designator: "root", verity: "signed" },
      { designator: "root-verity", fstype: "DM_verity_hash" },
      { designator: "root-verity-sig", fstype: "verity_hash_signature", partition_label: "root-x86-64-verity-sig" },
    ]);
    expect(spawnSync("sgdisk", ["-v", signed], { encoding: "utf8" }).stdout).toContain("No problems found");
    expect(execFileSync("sfdisk", ["-V", signed], { encoding: "utf8" })).toContain("No errors detected");
    // It reads the JSON itself: without one it takes the disk for no signed one.
    const broken = copyOf(signed, "broken.raw");
    const fd = fs.openSync(broken, "r+");
    fs.writeSync(fd, "[", 3 << 20);
    fs.closeSync(fd);
    expect(spawnSync("systemd-dissect", ["--json=short", broken]).status).not.toBe(0);
  });
});
