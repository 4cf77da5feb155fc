// APKINDEX.tar.gz: a signature member, then a member with the tar of DESCRIPTION and APKINDEX.
import type { ByteSource } from "@imgkit/bytes";
import { decodeName } from "@imgkit/bytes";
import { type Gunzip, memberFile, memberTree, portableGunzip, readMember } from "./archive.ts";
import { ApkError } from "./errors.ts";
import { type PackageInfo, parseIndex } from "./package.ts";
import { checkSignatures, readSignatures, type Trust } from "./signature.ts";

export interface RepositoryIndex {
  readonly packages: readonly PackageInfo[];
  /** The key whose signature it has; undefined when nothing was asked of it. */
  readonly key: string | undefined;
}

export interface ReadIndexOptions {
  /** Who may have signed it; undefined takes it as it is, which proves nothing. */
  readonly trust: Trust | undefined;
  /** Named in errors. */
  readonly name?: string;
  readonly gunzip?: Gunzip;
}

/** Bytes: a signature member is a few hundred, the index of a large distribution some tens of millions. */
const MAX_SIGNATURES = 1 << 16;
const MAX_INDEX = 1 << 28;

/**
 * Reads an index and holds it to its signature.
 * @throws ApkError BAD_INDEX, UNKNOWN_KEY, BAD_SIGNATURE; what the readers of gzip and tar throw.
 */
export async function readIndex(source: ByteSource, options: ReadIndexOptions): Promise<RepositoryIndex> {
  const { trust, name = "APKINDEX.tar.gz", gunzip = portableGunzip } = options;
  const first = await readMember(source, 0, MAX_INDEX, name, gunzip);
  // An index that nobody signed is one member, or two with other files in the first.
  const signed = isSignatureMember(first.bytes);
  if (!signed && trust !== undefined) {
    throw new ApkError("BAD_SIGNATURE", "the index is not signed", { path: name, hint: "Use a signed repository; an unsigned index proves nothing." });
  }
  let key: string | undefined;
  if (signed && trust !== undefined) {
    if (first.bytes.length > MAX_SIGNATURES) throw new ApkError("BAD_SIGNATURE", "a signature member that is too large", { path: name });
    const signatures = await readSignatures(first.bytes, name);
    key = await checkSignatures(signatures, await source.read(first.end, source.size), trust, name);
  }
  const body = signed ? await readMember(source, first.end, MAX_INDEX, name, gunzip) : first;
  if (body.end !== source.size) throw new ApkError("BAD_INDEX", "something follows the index", { path: name, offset: body.end });
  const text = await memberFile(await memberTree(body.bytes, name), "APKINDEX");
  if (text === undefined) throw new ApkError("BAD_INDEX", "there is no APKINDEX in it", { path: name });
  return { packages: parseIndex(decodeName(text), `${name}/APKINDEX`), key };
}

function isSignatureMember(bytes: Uint8Array): boolean {
  return decodeName(bytes.subarray(0, 6)) === ".SIGN.";
}
