import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { AttestError } from "./errors.ts";
import type { RsaSigner, RsaVerifier } from "./pkcs7/rsa.ts";

/** Secure Boot firmware need not take fewer, and OpenSSL's own minimum is higher than fewer. */
const MIN_BITS = 2048;

/**
 * Signs with an RSA key in PEM or DER (PKCS #8, or PKCS #1), encrypted or not.
 * @throws AttestError BAD_KEY when it cannot be read (a missing or wrong passphrase, another kind of file), is not RSA, or is shorter than 2048 bits.
 */
export function rsaSigner(key: Uint8Array, passphrase?: string): RsaSigner {
  const privateKey = readKey(key, passphrase);
  const bits = privateKey.asymmetricKeyDetails?.modulusLength ?? 0;
  if (privateKey.asymmetricKeyType !== "rsa" || bits < MIN_BITS) {
    throw new AttestError("BAD_KEY", "a key that Secure Boot does not take", {
      expected: `RSA of at least ${MIN_BITS} bits`,
      found: `${privateKey.asymmetricKeyType}${bits === 0 ? "" : ` of ${bits}`}`,
    });
  }
  return (toBeSigned) => new Uint8Array(sign("sha256", toBeSigned, privateKey));
}

function readKey(key: Uint8Array, passphrase: string | undefined): KeyObject {
  const options = passphrase === undefined ? {} : { passphrase };
  try {
    if (key[0] !== 0x30) return createPrivateKey({ key: Buffer.from(key), format: "pem", ...options });
  } catch (cause) {
    throw unreadable(cause);
  }
  for (const type of ["pkcs8", "pkcs1"] as const) {
    try {
      return createPrivateKey({ key: Buffer.from(key), format: "der", type, ...options });
    } catch (cause) {
      if (type === "pkcs1") throw unreadable(cause);
    }
  }
  throw unreadable(undefined);
}

function unreadable(cause: unknown): AttestError {
  return new AttestError("BAD_KEY", "the private key cannot be read", { expected: "an RSA key in PEM or DER, with its passphrase if it has one", cause });
}

/** Verifies with Node's OpenSSL. */
export const rsaVerifier: RsaVerifier = (publicKey, signed, signature) => {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    return verify("sha256", signed, key, signature);
  } catch {
    // A key that OpenSSL cannot read has signed nothing.
    return false;
  }
};
