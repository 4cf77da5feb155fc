// Keys of repositories: RSA public keys in PEM (SubjectPublicKeyInfo), each known by its file name, which signatures carry.
import { decodeBase64 } from "@imgkit/bytes";
import { ApkError } from "./errors.ts";

/** The hash that a signature is over, by WebCrypto's name. */
export type SignatureHash = "SHA-1" | "SHA-256" | "SHA-512";

/** Checks RSASSA-PKCS1-v1_5 signatures (RFC 8017 section 8.2.2). */
export interface RsaEngine {
  /** `key` is a DER SubjectPublicKeyInfo. @throws ApkError BAD_KEY when it is no RSA key. */
  verify(key: Uint8Array, hash: SignatureHash, signature: Uint8Array, data: Uint8Array): Promise<boolean>;
}

/** The part of WebCrypto's SubtleCrypto that is used. */
export interface SubtleLike {
  importKey(format: "spki", key: Uint8Array, algorithm: { name: string; hash: string }, extractable: boolean, usages: ["verify"]): Promise<unknown>;
  verify(algorithm: string, key: never, signature: Uint8Array, data: Uint8Array): Promise<boolean>;
}

const ALGORITHM = "RSASSA-PKCS1-v1_5";

/** The engine over WebCrypto: `crypto.subtle` of a browser, or of Node. */
export function webCryptoRsa(subtle: SubtleLike): RsaEngine {
  return {
    async verify(key, hash, signature, data) {
      let imported: unknown;
      try {
        imported = await subtle.importKey("spki", key, { name: ALGORITHM, hash }, false, ["verify"]);
      } catch (cause) {
        throw new ApkError("BAD_KEY", "not an RSA public key", { expected: "a SubjectPublicKeyInfo of an RSA key", cause });
      }
      return subtle.verify(ALGORITHM, imported as never, signature, data);
    },
  };
}

/** Keys by name. A Map, so that no name is special. */
export type KeyRing = ReadonlyMap<string, Uint8Array>;

/**
 * The DER bytes in a PEM file that holds one public key.
 * @throws ApkError BAD_KEY
 */
export function parsePublicKey(pem: string, name: string): Uint8Array {
  const match = /^\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/.exec(pem.length > 65_536 ? "" : pem);
  const text = match?.[1]?.replace(/\s/g, "") ?? "";
  if (text === "" || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) {
    throw new ApkError("BAD_KEY", "not a public key", { path: name, expected: "one PEM block, BEGIN PUBLIC KEY" });
  }
  return decodeBase64(text);
}
