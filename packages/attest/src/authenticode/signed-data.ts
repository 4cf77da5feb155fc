// The PKCS #7 SignedData of Authenticode: written, and read from whoever made it.
//
// Spec: RFC 2315, 9; Microsoft, "Windows Authenticode Portable Executable Signature Format". Subset: one signer, SHA-256, RSA with PKCS #1 v1.5.

import { equalBytes } from "@imgkit/bytes";
import { type Certificate, readCertificate } from "./certificate.ts";
import { attributesMatch, expectSha256, indirectData, readIndirectData, sha256Algorithm, signedAttributes } from "./content.ts";
import { bad, bytesOf, child, children, type Der, isTag, octets, oidOf, parseDer, tag } from "./der.ts";
import { context, integer, nul, objectId, octetString, sequence, set } from "./encode.ts";
import { oid } from "./oids.ts";

/** DER of SignedData over an image's hash, with a signature of `signedAttributes` of that hash. */
export function encodeSignedData(imageHash: Uint8Array, signer: Certificate, chain: readonly Certificate[], signature: Uint8Array): Uint8Array {
  const signerInfo = sequence(
    integer(1),
    sequence(signer.issuerDer, signer.serialDer),
    sha256Algorithm(),
    context(0, ...signedAttributes(imageHash)),
    sequence(objectId(oid.rsaEncryption), nul),
    octetString(signature),
  );
  const signedData = sequence(
    integer(1),
    set(sha256Algorithm()),
    sequence(objectId(oid.spcIndirectData), context(0, indirectData(imageHash))),
    context(0, ...[signer, ...chain].map(({ der }) => der)),
    set(signerInfo),
  );
  return sequence(objectId(oid.signedData), context(0, signedData));
}

/** What a signature says, and what it takes to judge it. */
export interface SignedData {
  /** The image's hash as the signature has it. */
  readonly imageHash: Uint8Array;
  readonly certificates: readonly Certificate[];
  /** The certificate of `certificates` that the signer is named by; `undefined` when it is not among them. */
  readonly signer: Certificate | undefined;
  /** DER of the SET that the signature is of. */
  readonly toBeSigned: Uint8Array;
  readonly signature: Uint8Array;
  /** Whether the signed attributes name this very content: without it the signature says nothing about the image. */
  readonly attributesMatch: boolean;
}

/**
 * Reads an Authenticode signature, DER; the zeros that pad it in a certificate table may follow.
 * @throws AttestError BAD_SIGNATURE, BAD_CERTIFICATE.
 */
export function readSignedData(der: Uint8Array): SignedData {
  const contentInfo = parseDer(der, "ContentInfo", "BAD_SIGNATURE", true);
  const outer = children(contentInfo, tag.sequence);
  const type = oidOf(child(outer, 0, contentInfo, "contentType"));
  if (type !== oid.signedData) throw bad("BAD_SIGNATURE", "contentType", "signedData", type);
  const wrapper = child(outer, 1, contentInfo, "content");
  const signedData = child(children(wrapper, tag.context0), 0, wrapper, "signedData");
  const fields = children(signedData, tag.sequence);
  const content = readContent(child(fields, 2, signedData, "contentInfo"));
  const certificateSet = child(fields, 3, signedData, "certificates");
  const certificates = children(certificateSet, tag.context0).map((one) => readCertificate(bytesOf(one)));
  const infos = fields.at(-1) as Der;
  const signers = children(infos, tag.set);
  if (signers.length !== 1) throw bad("BAD_SIGNATURE", "signerInfos", "one signer", `${signers.length}`);
  return { imageHash: readIndirectData(content), certificates, ...readSigner(child(signers, 0, infos, "signerInfo"), content, certificates) };
}

/** SpcIndirectDataContent, which stands where PKCS #7 has its content. */
function readContent(contentInfo: Der): Der {
  const parts = children(contentInfo, tag.sequence);
  const type = oidOf(child(parts, 0, contentInfo, "contentType"));
  if (type !== oid.spcIndirectData) throw bad("BAD_SIGNATURE", contentInfo.name, "SPC_INDIRECT_DATA", type);
  const wrapper = child(parts, 1, contentInfo, "content");
  return child(children(wrapper, tag.context0), 0, wrapper, "spcIndirectDataContent");
}

function readSigner(info: Der, content: Der, certificates: readonly Certificate[]): Omit<SignedData, "imageHash" | "certificates"> {
  const fields = children(info, tag.sequence);
  const name = child(fields, 1, info, "issuerAndSerialNumber");
  const parts = children(name, tag.sequence);
  const [issuer, serial] = [bytesOf(child(parts, 0, name, "issuer")), bytesOf(child(parts, 1, name, "serialNumber"))];
  expectSha256(child(fields, 2, info, "digestAlgorithm"));
  const attributes = child(fields, 3, info, "authenticatedAttributes");
  if (!isTag(attributes, tag.context0)) throw bad("BAD_SIGNATURE", attributes.name, "signed attributes", "none");
  const algorithm = child(fields, 4, info, "digestEncryptionAlgorithm");
  const kind = oidOf(child(children(algorithm, tag.sequence), 0, algorithm, "algorithm"));
  if (kind !== oid.rsaEncryption && kind !== oid.sha256WithRsa) throw bad("BAD_SIGNATURE", algorithm.name, "RSA", kind);
  const toBeSigned = bytesOf(attributes);
  toBeSigned[0] = 0x31;
  return {
    signer: certificates.find((one) => equalBytes(one.issuerDer, issuer) && equalBytes(one.serialDer, serial)),
    toBeSigned,
    signature: octets(child(fields, 5, info, "encryptedDigest")),
    attributesMatch: attributesMatch(attributes, content),
  };
}
