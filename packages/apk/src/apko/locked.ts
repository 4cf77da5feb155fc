// A package and its entry in a lock.
import { encodeBase64, fromHex, portableSha256, type Sha256Engine } from "@imgkit/bytes";
import { sha1 } from "@noble/hashes/legacy.js";
import { type ApkFile, checkData } from "../apk-file.ts";
import type { Range } from "../archive.ts";
import { ApkError } from "../errors.ts";
import type { OpenedFile } from "./fetcher.ts";
import type { LockedApk } from "./lock.ts";

/** The entry of a package that was opened; `url` says where it is. */
export async function lockedApk(apk: ApkFile, file: OpenedFile, url: string, sha256: Sha256Engine): Promise<LockedApk> {
  const { signature, control, data } = apk.ranges;
  const { name, version, architecture } = apk.info;
  return {
    name,
    url,
    version,
    architecture,
    signature: signature === undefined ? { range: "", checksum: "" } : { range: rangeText(signature), checksum: await digest(file, signature, "sha1", sha256) },
    control: { range: rangeText(control), checksum: await digest(file, control, "sha1", sha256) },
    data: { range: rangeText(data), checksum: `sha256-${encodeBase64(fromHex(apk.info.dataHash ?? ""))}` },
    checksum: apk.checksum,
  };
}

function rangeText({ start, end }: Range): string {
  return `bytes=${start}-${end - 1}`;
}

async function digest(file: OpenedFile, { start, end }: Range, algorithm: "sha1" | "sha256", sha256: Sha256Engine): Promise<string> {
  const hasher = algorithm === "sha1" ? sha1.create() : sha256.create();
  for (let at = start; at < end; ) {
    const stop = Math.min(end, at + (1 << 20));
    hasher.update(await file.read(at, stop));
    at = stop;
  }
  return `${algorithm}-${encodeBase64(hasher.digest())}`;
}

/**
 * Holds a package to a lock: its name, its parts' places and hashes, and its data to its own hash.
 * @throws ApkError CHECKSUM_MISMATCH, NOT_IN_INDEX.
 */
export async function checkLocked(apk: ApkFile, file: OpenedFile, locked: LockedApk, name: string): Promise<void> {
  for (const field of ["name", "version", "architecture"] as const) {
    if (apk.info[field] !== locked[field])
      throw new ApkError("NOT_IN_INDEX", "another package than the lock lists", { path: name, field, expected: locked[field], found: apk.info[field] });
  }
  await checkData(apk, name);
  const found = await lockedApk(apk, file, locked.url, portableSha256);
  const differs = (field: string, expected: string, is: string): never => {
    throw new ApkError("CHECKSUM_MISMATCH", "not the package that the lock lists", { path: name, field, expected, found: is });
  };
  if (found.checksum !== locked.checksum) differs("checksum", locked.checksum, found.checksum);
  for (const part of ["signature", "control", "data"] as const) {
    for (const field of ["range", "checksum"] as const)
      if (locked[part][field] !== found[part][field]) differs(`${part}.${field}`, locked[part][field], found[part][field]);
  }
}
