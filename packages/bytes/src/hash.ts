import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";

/** A hash being computed. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** The digest of everything so far; the hasher is spent afterwards. */
  digest(): Uint8Array;
}

/** One way of computing SHA-256. All engines give the same bytes; they differ in speed and in where they run. */
export interface Sha256Engine {
  readonly name: string;
  hash(bytes: Uint8Array): Uint8Array;
  create(): Hasher;
}

/** SHA-256 by `@noble/hashes`: runs everywhere, and is the reference that other engines are tested against. */
export const portableSha256: Sha256Engine = {
  name: "noble",
  hash: (bytes) => nobleSha256(bytes),
  create() {
    const state = nobleSha256.create();
    return {
      update(bytes) {
        state.update(bytes);
      },
      digest: () => state.digest(),
    };
  },
};
