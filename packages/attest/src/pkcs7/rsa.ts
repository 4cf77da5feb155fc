/** RSA with PKCS #1 v1.5 and SHA-256: who signs. The same bytes give the same signature. */
export type RsaSigner = (toBeSigned: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/** The same: who verifies. `publicKey` is the DER of a SubjectPublicKeyInfo. */
export type RsaVerifier = (publicKey: Uint8Array, signed: Uint8Array, signature: Uint8Array) => boolean | Promise<boolean>;
