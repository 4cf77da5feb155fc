// X.509 certificates (RFC 5280): what a signature names its signer by, and the public key.

import { portableSha256, toHex } from "@imgkit/bytes";
import { readPem } from "../pem.ts";
import { bad, bytesOf, child, children, contentOf, type Der, expectTag, isTag, oidOf, parseDer, tag } from "./der.ts";
import { attributeNames, oid } from "./oids.ts";

/** A certificate, as far as a signature needs it. */
export interface Certificate {
  readonly der: Uint8Array;
  /** As OpenSSL prints them with `-nameopt RFC2253`, but in the order of the certificate: `CN=Secure Boot, O=Example`. */
  readonly subject: string;
  readonly issuer: string;
  /** Hexadecimal. */
  readonly serial: string;
  /** SHA-256 of the DER, hexadecimal. */
  readonly fingerprint: string;
  /** DER of `issuer` and `serialNumber`, by which a signature names its signer. */
  readonly issuerDer: Uint8Array;
  readonly serialDer: Uint8Array;
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
}

/**
 * The certificates of a PEM or DER file, in its order.
 * @throws AttestError BAD_PEM, BAD_CERTIFICATE.
 */
export function readCertificateFile(file: Uint8Array): readonly Certificate[] {
  return readPem(file, "CERTIFICATE").map(readCertificate);
}

/**
 * Reads a certificate.
 * @throws AttestError BAD_CERTIFICATE when it is none, or its key is not RSA: Secure Boot knows no other.
 */
export function readCertificate(der: Uint8Array): Certificate {
  const certificate = parseDer(der, "Certificate", "BAD_CERTIFICATE");
  const tbs = child(children(certificate, tag.sequence), 0, certificate, "tbsCertificate");
  const fields = children(tbs, tag.sequence);
  // The version stands in front, but not in certificates of version 1.
  const first = fields[0] !== undefined && isTag(fields[0], tag.context0) ? 1 : 0;
  const field = (index: number, name: string): Der => child(fields, first + index, tbs, name);
  const serial = expectTag(field(0, "serialNumber"), tag.integer);
  const issuer = expectTag(field(2, "issuer"), tag.sequence);
  const subject = expectTag(field(4, "subject"), tag.sequence);
  const publicKey = field(5, "subjectPublicKeyInfo");
  const algorithm = child(children(publicKey, tag.sequence), 0, publicKey, "algorithm");
  const kind = oidOf(child(children(algorithm, tag.sequence), 0, algorithm, "algorithm"));
  if (kind !== oid.rsaEncryption) throw bad("BAD_CERTIFICATE", publicKey.name, "an RSA key, which Secure Boot knows", kind);
  return {
    der,
    subject: nameText(subject),
    issuer: nameText(issuer),
    serial: toHex(contentOf(serial)),
    fingerprint: toHex(portableSha256.hash(der)),
    issuerDer: bytesOf(issuer),
    serialDer: bytesOf(serial),
    publicKey: bytesOf(publicKey),
  };
}

function nameText(name: Der): string {
  const parts = children(name, tag.sequence).flatMap((rdn) => children(rdn, tag.set).map(attributeText));
  return parts.join(", ");
}

function attributeText(attribute: Der): string {
  const parts = children(attribute, tag.sequence);
  const type = oidOf(child(parts, 0, attribute, "type"));
  const value = child(parts, 1, attribute, "value");
  const text = (value.block as { getValue?: () => unknown }).getValue?.();
  const shown = typeof text === "string" ? text.replace(/[,+"\\<>;=]/g, "\\$&") : `#${toHex(bytesOf(value))}`;
  return `${attributeNames[type] ?? type}=${shown}`;
}
