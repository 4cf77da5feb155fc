// What an Authenticode signature says: SpcIndirectDataContent, the hash of the image, and the attributes that are signed in its place.

import { equalBytes, portableSha256 } from "@imgkit/bytes";
import { bad, child, children, contentOf, type Der, octets, oidOf, tag } from "../pkcs7/der.ts";
import { bmpString, context, noBits, objectId, octetString, sequence, set } from "../pkcs7/encode.ts";
import { oid } from "../pkcs7/oids.ts";
import { expectSha256, sha256Algorithm } from "../pkcs7/signed-data.ts";

/** The words that stand where Authenticode once named a file. */
const OBSOLETE = "<<<Obsolete>>>";

/** SpcIndirectDataContent for a PE image with this SHA-256 hash. */
export function indirectData(imageHash: Uint8Array): Uint8Array {
  return sequence(...indirectDataParts(imageHash));
}

function indirectDataParts(imageHash: Uint8Array): readonly [data: Uint8Array, messageDigest: Uint8Array] {
  const peImageData = sequence(noBits, context(0, context(2, bmpString(0, OBSOLETE))));
  return [sequence(objectId(oid.spcPeImageData), peImageData), sequence(sha256Algorithm(), octetString(imageHash))];
}

/**
 * The attributes that are signed: the content's type and its hash. There is no signing time: the same image and key give the same bytes.
 * DER wants them in the order of their bytes, which is that of their lengths.
 */
export function signedAttributes(imageHash: Uint8Array): readonly [contentType: Uint8Array, messageDigest: Uint8Array] {
  // The hash is of the content without its own tag and length (RFC 2315, 9.3).
  const hasher = portableSha256.create();
  for (const part of indirectDataParts(imageHash)) hasher.update(part);
  return [sequence(objectId(oid.contentType), set(objectId(oid.spcIndirectData))), sequence(objectId(oid.messageDigest), set(octetString(hasher.digest())))];
}

/** Reads the image's hash out of SpcIndirectDataContent, and checks that it is SHA-256. */
export function readIndirectData(content: Der): Uint8Array {
  const parts = children(content, tag.sequence);
  const data = child(parts, 0, content, "data");
  const type = oidOf(child(children(data, tag.sequence), 0, data, "type"));
  if (type !== oid.spcPeImageData) throw bad(content.code, data.name, "SPC_PE_IMAGE_DATA", type);
  const digestInfo = child(parts, 1, content, "messageDigest");
  const info = children(digestInfo, tag.sequence);
  expectSha256(child(info, 0, digestInfo, "digestAlgorithm"));
  return octets(child(info, 1, digestInfo, "digest"));
}

/** Whether signed attributes name this content: its type, and the hash of its bytes. */
export function attributesMatch(attributes: Der, content: Der): boolean {
  const values = new Map(
    children(attributes, tag.context0).map((attribute) => {
      const parts = children(attribute, tag.sequence);
      const set = child(parts, 1, attribute, "values");
      return [oidOf(child(parts, 0, attribute, "type")), child(children(set, tag.set), 0, set, "value")] as const;
    }),
  );
  const [type, digest] = [values.get(oid.contentType), values.get(oid.messageDigest)];
  if (type === undefined || digest === undefined) return false;
  return oidOf(type) === oid.spcIndirectData && equalBytes(octets(digest), portableSha256.hash(contentOf(content)));
}
