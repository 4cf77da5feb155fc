import type { RsaSigner, RsaVerifier } from "./pkcs7/rsa.ts";

const ALGORITHM = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } as const;

/** Verifies with Web Crypto, which browsers, Deno and Node have as `crypto.subtle`. */
export function webCryptoVerifier(subtle: SubtleCrypto): RsaVerifier {
  return async (publicKey, signed, signature) => {
    try {
      const key = await subtle.importKey("spki", Uint8Array.from(publicKey), ALGORITHM, false, ["verify"]);
      return await subtle.verify(ALGORITHM.name, key, Uint8Array.from(signature), Uint8Array.from(signed));
    } catch {
      // A key that cannot be read has signed nothing.
      return false;
    }
  };
}

/** Signs with a private key of Web Crypto, which may be one that cannot be exported. */
export function webCryptoSigner(subtle: SubtleCrypto, key: CryptoKey): RsaSigner {
  return async (toBeSigned) => new Uint8Array(await subtle.sign(ALGORITHM.name, key, Uint8Array.from(toBeSigned)));
}
