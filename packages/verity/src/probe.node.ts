// Which way of hashing is faster on this CPU. Without SHA instructions OpenSSL falls to a third of its speed, and four blocks at once in
// WebAssembly are faster. What is measured chooses the speed only: the bytes are the same.

import type { VerityLayout } from "./layout.ts";
import { nativeEngine } from "./native.node.ts";
import { type SimdModule, simdHasher, simdModule } from "./simd/engine.ts";

/** A clock in milliseconds that never goes back. */
export type Clock = () => number;

/** Less is not worth a look. */
const leastData = 16 * 1024 * 1024;

// With SHA instructions OpenSSL hashes 1,200 MB/s and more, without them about 400.
const fastEnough = 800;

/**
 * The module that hashes the data of a layout faster than OpenSSL does, or undefined when OpenSSL is not slower.
 * @param wanted what the caller has decided; absent: what a look at the CPU says, which takes a millisecond, or some 20 where it pays.
 */
export async function fasterModule(
  layout: VerityLayout,
  wanted: "native" | "simd" | undefined,
  clock: Clock = () => performance.now(),
): Promise<SimdModule | undefined> {
  if (wanted === "native" || layout.hash !== "sha256") return undefined;
  if (wanted === "simd") return simdModule();
  if (layout.dataSize < leastData) return undefined;
  const native = speed(nativeEngine.blockHasher(shape), clock, 8);
  if (native >= fastEnough) return undefined;
  const module = await simdModule();
  return module !== undefined && speed(simdHasher(module, shape), clock, 32) > native ? module : undefined;
}

const shape = { hash: "sha256", hashType: 1, salt: new Uint8Array(0), blockSize: 4096 } as const;
const blocks = 8;

/** MB/s, of the best of some rounds of 32 KiB: other programs only ever slow one down. */
function speed(hasher: ReturnType<typeof nativeEngine.blockHasher>, clock: Clock, rounds: number): number {
  const data = new Uint8Array(blocks * shape.blockSize);
  const out = new Uint8Array(blocks * 32);
  let best = 0;
  for (let round = 0; round < rounds; round++) {
    const start = clock();
    hasher?.hash(data, 0, blocks, out, 0, 32);
    best = Math.max(best, data.length / 1000 / (clock() - start));
  }
  return best;
}
