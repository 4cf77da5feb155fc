import { createHash } from "node:crypto";
import type { Sha256Engine } from "./hash.ts";

/** SHA-256 by Node's OpenSSL, which uses the CPU's SHA instructions where it has them. */
export const nativeSha256: Sha256Engine = {
  name: "native",
  hash: (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest()),
  create() {
    const state = createHash("sha256");
    return {
      update(bytes) {
        state.update(bytes);
      },
      digest: () => new Uint8Array(state.digest()),
    };
  },
};
