// The detached PKCS #7 SignedData over a verity root hash: what the kernel's dm-verity and systemd take.
//
// Spec: RFC 2315, 9; Linux, Documentation/admin-guide/device-mapper/verity.rst; Discoverable Partitions Specification, "Verity".
// Subset: one signer, SHA-256, RSA with PKCS #1 v1.5, no attributes, no content. Bit for bit what `openssl smime -sign -binary -noattr -nocerts`
// writes, and with the signer's certificate what systemd-repart writes.

import { equalBytes } from "@imgkit/bytes";
import { type Certificate, readCertificate } from "../pkcs7/certificate.ts";
import { bad, bytesOf, child, children, isTag, octets, oidOf, tag } from "../pkcs7/der.ts";
import { context, integer, nul, objectId, octetString, sequence, set } from "../pkcs7/encode.ts";
import { oid } from "../pkcs7/oids.ts";
import { expectRsa, expectSha256, oneSigner, openSignedData, type SignerName, sha256Algorithm, signerName } from "../pkcs7/signed-data.ts";

/** What the signature says. */
export interface RootHashSignedData {
  /** Whom it names. */
  readonly signer: SignerName;
  /** DER of the certificates that are in it. No signature covers them: they are for a kernel that knows the issuer alone. */
  readonly certificates: readonly Uint8Array[];
  readonly signature: Uint8Array;
}

/** The same thing in the words of different tools: OpenSSL's smime, and its cms, which leaves out the NULL behind SHA-256 (RFC 5754, 2). */
interface Form {
  readonly digest: Uint8Array;
  readonly encryption: string;
}

const smime: Form = { digest: sha256Algorithm(), encryption: oid.rsaEncryption };
const forms: readonly Form[] = [smime.digest, sequence(objectId(oid.sha256))].flatMap((digest) =>
  [oid.rsaEncryption, oid.sha256WithRsa].map((encryption) => ({ digest, encryption })),
);

/** DER of the SignedData. */
export function encodeRootHashSignedData({ signer, certificates, signature }: RootHashSignedData, form: Form = smime): Uint8Array {
  const signerInfo = sequence(
    integer(1),
    sequence(signer.issuerDer, signer.serialDer),
    form.digest,
    sequence(objectId(form.encryption), nul),
    octetString(signature),
  );
  const signedData = sequence(
    integer(1),
    set(form.digest),
    sequence(objectId(oid.data)),
    ...(certificates.length === 0 ? [] : [context(0, ...certificates)]),
    set(signerInfo),
  );
  return sequence(objectId(oid.signedData), context(0, signedData));
}

/**
 * Reads a signature. What could be written otherwise and is covered by no signature must be as it is written here, so that no byte can be another.
 * @throws AttestError BAD_SIGNATURE, BAD_CERTIFICATE.
 */
export function readRootHashSignedData(der: Uint8Array): RootHashSignedData {
  const { signedData, fields: signedFields } = openSignedData(der, false);
  const contentInfo = child(signedFields, 2, signedData, "contentInfo");
  const content = children(contentInfo, tag.sequence);
  const type = oidOf(child(content, 0, contentInfo, "contentType"));
  if (type !== oid.data) throw bad("BAD_SIGNATURE", contentInfo.name, "data", type);
  if (content.length > 1) throw bad("BAD_SIGNATURE", contentInfo.name, "a detached signature, without the content", "a content in it");
  const { info, fields } = oneSigner(signedFields);
  expectSha256(child(fields, 2, info, "digestAlgorithm"));
  const next = child(fields, 3, info, "digestEncryptionAlgorithm");
  if (isTag(next, tag.context0)) throw bad("BAD_SIGNATURE", info.name, "no signed attributes (openssl: -noattr)", "signed attributes");
  expectRsa(next);
  const certificateSet = child(signedFields, 3, signedData, "certificates");
  const certificates = isTag(certificateSet, tag.context0) ? children(certificateSet, tag.context0).map((one) => readCertificate(bytesOf(one)).der) : [];
  const read = { signer: signerName(info, fields), certificates, signature: octets(child(fields, 4, info, "encryptedDigest")) };
  if (forms.some((form) => equalBytes(encodeRootHashSignedData(read, form), der))) return read;
  throw bad("BAD_SIGNATURE", signedData.name, "what this signature says, in DER and with nothing besides", "it in another form");
}

/** What names this certificate as a signer. */
export function nameOf({ issuerDer, serialDer }: Certificate): SignerName {
  return { issuerDer, serialDer };
}
