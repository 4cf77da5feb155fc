// An .apk of format 2: an optional signature member, the control member, and the data, each a gzip of its own.
import { type ByteSource, decodeName, encodeBase64, portableSha256, type Sha256Engine, sliceSource, streamSource, toHex } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import { sha1 } from "@noble/hashes/legacy.js";
import { type Gunzip, memberFile, memberTree, portableGunzip, type Range, readMember } from "./archive.ts";
import { ApkError } from "./errors.ts";
import { type PackageInfo, parsePackageInfo } from "./package.ts";
import { checkSignatures, readSignatures, type Trust } from "./signature.ts";

/** An .apk whose control data was read. */
export interface ApkFile {
  readonly info: PackageInfo;
  /** `Q1` and the base64 SHA-1 of the control member: what an index lists. */
  readonly checksum: string;
  /** The files of the control member: `.PKGINFO`, scripts, `.trigger`. */
  readonly control: Tree;
  /** The key whose signature it has; undefined when it has none, or nothing was asked of it. */
  readonly key: string | undefined;
  readonly ranges: { readonly signature: Range | undefined; readonly control: Range; readonly data: Range };
  /** The data member, compressed. */
  readonly data: ByteSource;
}

export interface OpenApkOptions {
  /** Named in errors. */
  readonly name: string;
  /** Who may have signed it. Undefined: whoever calls holds it to an index that was signed. */
  readonly trust?: Trust;
  readonly gunzip?: Gunzip;
}

/** Bytes: control members are scripts and a page of text. */
const MAX_CONTROL = 1 << 26;

/**
 * Opens an .apk: reads its control member, and holds it to its signature if asked.
 * @throws ApkError BAD_PACKAGE, UNKNOWN_KEY, BAD_SIGNATURE; what the readers of gzip and tar throw.
 */
export async function openApk(source: ByteSource, options: OpenApkOptions): Promise<ApkFile> {
  const { name, trust, gunzip = portableGunzip } = options;
  if (decodeName(await source.read(0, Math.min(3, source.size))) === "ADB") {
    throw new ApkError("BAD_PACKAGE", "a package of format 3, which is not read yet", { path: name, expected: "format 2: gzip members", found: "ADB" });
  }
  const first = await readMember(source, 0, MAX_CONTROL, name, gunzip);
  const signed = decodeName(first.bytes.subarray(0, 6)) === ".SIGN.";
  const control = signed ? await readMember(source, first.end, MAX_CONTROL, name, gunzip) : first;
  const bytes = await source.read(control.start, control.end);
  let key: string | undefined;
  if (trust !== undefined) {
    if (!signed) throw new ApkError("BAD_SIGNATURE", "the package is not signed", { path: name });
    key = await checkSignatures(await readSignatures(first.bytes, name), bytes, trust, name);
  }
  const tree = await memberTree(control.bytes, name);
  const text = await memberFile(tree, ".PKGINFO");
  if (text === undefined) throw new ApkError("BAD_PACKAGE", "there is no .PKGINFO in the control member", { path: name });
  const data = { start: control.end, end: source.size };
  return {
    info: parsePackageInfo(decodeName(text), name),
    checksum: `Q1${encodeBase64(sha1(bytes))}`,
    control: tree,
    key,
    ranges: { signature: signed ? { start: 0, end: first.end } : undefined, control: { start: control.start, end: control.end }, data },
    data: sliceSource(source, data.start, data.end),
  };
}

/**
 * Holds a package to what a signed index says of it: a signed index alone proves nothing (CVE-2026-42575).
 * @throws ApkError NOT_IN_INDEX, CHECKSUM_MISMATCH.
 */
export function checkAgainstIndex(apk: ApkFile, listed: PackageInfo, name: string): void {
  for (const field of ["name", "version", "architecture"] as const) {
    if (apk.info[field] === listed[field]) continue;
    throw new ApkError("NOT_IN_INDEX", "another package than the index lists", { path: name, field, expected: listed[field], found: apk.info[field] });
  }
  if (apk.checksum !== listed.checksum) {
    throw new ApkError("CHECKSUM_MISMATCH", "not the package that the index lists", {
      path: name,
      field: "checksum",
      expected: listed.checksum,
      found: apk.checksum,
    });
  }
}

/**
 * Holds the data member to the hash that the control member has of it.
 * @throws ApkError CHECKSUM_MISMATCH; BAD_PACKAGE when there is no hash.
 */
export async function checkData(apk: ApkFile, name: string, sha256: Sha256Engine = portableSha256): Promise<void> {
  const expected = apk.info.dataHash;
  if (expected === undefined) throw new ApkError("BAD_PACKAGE", "the package has no hash of its data", { path: name, field: "datahash" });
  const hasher = sha256.create();
  for await (const chunk of streamSource(apk.data, 1 << 20)) hasher.update(chunk);
  const found = toHex(hasher.digest());
  if (found !== expected)
    throw new ApkError("CHECKSUM_MISMATCH", "the data is not what the control member says", { path: name, field: "datahash", expected, found });
}
