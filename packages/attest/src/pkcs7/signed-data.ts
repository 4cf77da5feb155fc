// What every PKCS #7 SignedData (RFC 2315, 9) has around its content, and the algorithms that are known here: SHA-256, and RSA with PKCS #1 v1.5.

import { equalBytes } from "@imgkit/bytes";
import type { Certificate } from "./certificate.ts";
import { bad, bytesOf, child, children, type Der, oidOf, parseDer, tag } from "./der.ts";
import { nul, objectId, sequence } from "./encode.ts";
import { oid } from "./oids.ts";

export function sha256Algorithm(): Uint8Array {
  return sequence(objectId(oid.sha256), nul);
}

/** The fields of the SignedData that these bytes are, in their order; zeros may follow it when `padded`. */
export function openSignedData(der: Uint8Array, padded: boolean): { readonly signedData: Der; readonly fields: readonly Der[] } {
  const contentInfo = parseDer(der, "ContentInfo", "BAD_SIGNATURE", padded);
  const outer = children(contentInfo, tag.sequence);
  const type = oidOf(child(outer, 0, contentInfo, "contentType"));
  if (type !== oid.signedData) throw bad("BAD_SIGNATURE", "contentType", "signedData", type);
  const wrapper = child(outer, 1, contentInfo, "content");
  const signedData = child(children(wrapper, tag.context0), 0, wrapper, "signedData");
  return { signedData, fields: children(signedData, tag.sequence) };
}

/** The fields of the one SignerInfo, which are the last field of SignedData. */
export function oneSigner(signedFields: readonly Der[]): { readonly info: Der; readonly fields: readonly Der[] } {
  const infos = signedFields.at(-1) as Der;
  const signers = children(infos, tag.set);
  if (signers.length !== 1) throw bad("BAD_SIGNATURE", "signerInfos", "one signer", `${signers.length}`);
  const info = child(signers, 0, infos, "signerInfo");
  return { info, fields: children(info, tag.sequence) };
}

/** Whom a SignerInfo names: DER of issuer and serial number. */
export interface SignerName {
  readonly issuerDer: Uint8Array;
  readonly serialDer: Uint8Array;
}

export function signerName(info: Der, fields: readonly Der[]): SignerName {
  const name = child(fields, 1, info, "issuerAndSerialNumber");
  const parts = children(name, tag.sequence);
  return { issuerDer: bytesOf(child(parts, 0, name, "issuer")), serialDer: bytesOf(child(parts, 1, name, "serialNumber")) };
}

/** The certificate among these that is named so. */
export function certificateNamed(certificates: readonly Certificate[], { issuerDer, serialDer }: SignerName): Certificate | undefined {
  return certificates.find((one) => equalBytes(one.issuerDer, issuerDer) && equalBytes(one.serialDer, serialDer));
}

export function expectSha256(algorithm: Der): void {
  const found = algorithmOf(algorithm);
  if (found !== oid.sha256) throw bad(algorithm.code, algorithm.name, "SHA-256", found);
}

export function expectRsa(algorithm: Der): void {
  const found = algorithmOf(algorithm);
  if (found !== oid.rsaEncryption && found !== oid.sha256WithRsa) throw bad(algorithm.code, algorithm.name, "RSA", found);
}

function algorithmOf(algorithm: Der): string {
  return oidOf(child(children(algorithm, tag.sequence), 0, algorithm, "algorithm"));
}
