import type { BlockHasher, BlockShape, HashEngine } from "../engine.ts";
import { sha256Module } from "./sha256.ts";

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly run: (messages: number, stride: number, chunks: number, output: number) => void;
}

/** A compiled `WebAssembly.Module`. Not every environment's types have WebAssembly, and these types are to need no others. */
export type SimdModule = object;

/**
 * SHA-256 in WebAssembly, four blocks at once: for browsers, and for CPUs without SHA instructions. Resolves to undefined where
 * WebAssembly or its 128-bit vectors are missing. Other algorithms are left to the portable engine.
 */
export async function createSimdEngine(): Promise<HashEngine | undefined> {
  const module = await simdModule();
  if (module === undefined) return undefined;
  return { name: "wasm-simd", blockHasher: (shape) => (shape.hash === "sha256" ? simdHasher(module, shape) : undefined) };
}

// Generating and compiling takes some 50 ms, so it happens once.
let compiled: Promise<SimdModule | undefined> | undefined;

/** The module, compiled once for all engines and threads; undefined where it cannot run. */
export function simdModule(): Promise<SimdModule | undefined> {
  compiled ??= compile();
  return compiled;
}

async function compile(): Promise<SimdModule | undefined> {
  if (typeof WebAssembly !== "object") return undefined;
  const bytes = sha256Module() as BufferSource;
  return WebAssembly.validate(bytes) ? WebAssembly.compile(bytes) : undefined;
}

/**
 * A hasher with an instance of its own. It also runs in worker threads, which get it as text: it uses nothing but its arguments and
 * the language.
 */
export function simdHasher(module: SimdModule, { hashType, salt, blockSize }: Omit<BlockShape, "hash">): BlockHasher {
  const pageSize = 65536;
  const digestSize = 32;
  const lanes = 4;
  const { memory, run } = new WebAssembly.Instance(module as WebAssembly.Module).exports as unknown as Exports;
  const length = salt.length + blockSize;
  // FIPS 180-4 section 5.1.1: a one bit, zeros, and the length in bits as 64 bits big-endian.
  const stride = Math.ceil((length + 9) / 64) * 64;
  const output = lanes * stride;
  memory.grow(Math.ceil((output + lanes * digestSize) / pageSize) - 1);
  const bytes = new Uint8Array(memory.buffer);
  const place = hashType === 1 ? salt.length : 0;
  for (let lane = 0; lane < lanes; lane++) {
    const start = lane * stride;
    bytes.set(salt, start + (hashType === 1 ? 0 : blockSize));
    bytes[start + length] = 0x80;
    new DataView(memory.buffer).setUint32(start + stride - 4, 8 * length);
  }
  return {
    hash(source, at, count, out, outAt, outStride) {
      for (let first = 0; first < count; first += lanes) {
        const used = Math.min(lanes, count - first);
        for (let lane = 0; lane < used; lane++) {
          const start = at + (first + lane) * blockSize;
          bytes.set(source.subarray(start, start + blockSize), lane * stride + place);
        }
        run(0, stride, stride / 64, output);
        for (let lane = 0; lane < used; lane++) {
          const digest = output + lane * digestSize;
          out.set(bytes.subarray(digest, digest + digestSize), outAt + (first + lane) * outStride);
        }
      }
    },
  };
}
