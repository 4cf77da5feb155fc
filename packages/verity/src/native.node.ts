import * as crypto from "node:crypto";
import type { HashName } from "./algorithms.ts";
import type { BlockHasher, BlockShape, HashEngine } from "./engine.ts";

const opensslNames: Readonly<Record<HashName, string>> = {
  sha256: "sha256",
  sha1: "sha1",
  sha224: "sha224",
  sha384: "sha384",
  sha512: "sha512",
  "sha3-224": "sha3-224",
  "sha3-256": "sha3-256",
  "sha3-384": "sha3-384",
  "sha3-512": "sha3-512",
  "blake2b-512": "blake2b512",
  "blake2s-256": "blake2s256",
  ripemd160: "ripemd160",
};

/** OpenSSL's name of an algorithm, or undefined when this Node's OpenSSL does not have it. */
export function opensslName(hash: HashName): string | undefined {
  const name = opensslNames[hash];
  return crypto.getHashes().includes(name) ? name : undefined;
}

/** Node's OpenSSL, which uses the CPU's SHA instructions where it has them. */
export const nativeEngine: HashEngine = { name: "native", blockHasher: nativeHasher };

function nativeHasher({ hash, hashType, salt, blockSize }: BlockShape): BlockHasher | undefined {
  const algorithm = opensslName(hash);
  if (algorithm === undefined) return undefined;
  // crypto.hash came with Node 20.12; as a namespace member it may be absent in other runtimes.
  const digest: (bytes: Uint8Array) => string =
    typeof crypto.hash === "function"
      ? (bytes) => crypto.hash(algorithm, bytes, "binary")
      : (bytes) => crypto.createHash(algorithm).update(bytes).digest("binary");
  // Copying a block beside the salt costs a tenth of hashing it, and two updates cost more.
  const salted = new Uint8Array(salt.length + blockSize);
  salted.set(salt, hashType === 1 ? 0 : blockSize);
  const place = hashType === 1 ? salt.length : 0;
  return {
    hash(bytes, at, count, out, outAt, stride) {
      const target = Buffer.from(out.buffer, out.byteOffset, out.length);
      for (let i = 0; i < count; i++) {
        const block = bytes.subarray(at + i * blockSize, at + (i + 1) * blockSize);
        if (salt.length > 0) salted.set(block, place);
        target.write(digest(salt.length > 0 ? salted : block), outAt + i * stride, "latin1");
      }
    },
  };
}
