// The PKCS #7 SignedData of Authenticode: written, and read from whoever made it.
//
// Spec: RFC 2315, 9; Microsoft, "Windows Authenticode Portable Executable Signature Format". Subset: one signer, SHA-256, RSA with PKCS #1 v1.5.

import { type Certificate, readCertificate } from "../pkcs7/certificate.ts";
import { bad, bytesOf, child, children, type Der, isTag, octets, oidOf, tag } from "../pkcs7/der.ts";
import { context, integer, nul, objectId, octetString, sequence, set } from "../pkcs7/encode.ts";
import { oid } from "../pkcs7/oids.ts";
import { certificateNamed, expectRsa, expectSha256, oneSigner, openSignedData, sha256Algorithm, signerName } from "../pkcs7/signed-data.ts";
import { attributesMatch, indirectData, readIndirectData, signedAttributes } from "./content.ts";

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
  const { signedData, fields } = openSignedData(der, true);
  const content = readContent(child(fields, 2, signedData, "contentInfo"));
  const certificateSet = child(fields, 3, signedData, "certificates");
  const certificates = children(certificateSet, tag.context0).map((one) => readCertificate(bytesOf(one)));
  return { imageHash: readIndirectData(content), certificates, ...readSigner(fields, content, certificates) };
}

/** SpcIndirectDataContent, which stands where PKCS #7 has its content. */
function readContent(contentInfo: Der): Der {
  const parts = children(contentInfo, tag.sequence);
  const type = oidOf(child(parts, 0, contentInfo, "contentType"));
  if (type !== oid.spcIndirectData) throw bad("BAD_SIGNATURE", contentInfo.name, "SPC_INDIRECT_DATA", type);
  const wrapper = child(parts, 1, contentInfo, "content");
  return child(children(wrapper, tag.context0), 0, wrapper, "spcIndirectDataContent");
}

function readSigner(signedFields: readonly Der[], content: Der, certificates: readonly Certificate[]): Omit<SignedData, "imageHash" | "certificates"> {
  const { info, fields } = oneSigner(signedFields);
  expectSha256(child(fields, 2, info, "digestAlgorithm"));
  const attributes = child(fields, 3, info, "authenticatedAttributes");
  if (!isTag(attributes, tag.context0)) throw bad("BAD_SIGNATURE", attributes.name, "signed attributes", "none");
  expectRsa(child(fields, 4, info, "digestEncryptionAlgorithm"));
  const toBeSigned = bytesOf(attributes);
  toBeSigned[0] = 0x31;
  return {
    signer: certificateNamed(certificates, signerName(info, fields)),
    toBeSigned,
    signature: octets(child(fields, 5, info, "encryptedDigest")),
    attributesMatch: attributesMatch(attributes, content),
  };
}
