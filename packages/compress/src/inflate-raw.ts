import { BadData, CompressError } from "./errors.ts";
import { Inflater } from "./inflate.ts";

/**
 * The first `size` bytes that bare DEFLATE data (RFC 1951) stand for; what follows them is not looked at.
 * @throws CompressError CORRUPT, and TRUNCATED when the data give fewer bytes.
 */
export function inflateRaw(bytes: Uint8Array, size: number): Uint8Array {
  const inflater = new Inflater();
  inflater.push(bytes, 0);
  const out = new Uint8Array(size);
  let done = 0;
  try {
    while (done < size) {
      const state = inflater.run();
      const part = inflater.take();
      out.set(part.subarray(0, size - done), done);
      done += part.length;
      if (state !== "output" && done < size) {
        throw new CompressError("TRUNCATED", "the deflate data end too early", { expected: `${size} bytes`, found: `${done}` });
      }
    }
  } catch (cause) {
    if (!(cause instanceof BadData)) throw cause;
    throw new CompressError("CORRUPT", `the deflate data are damaged: ${cause.message}`, { cause });
  }
  return out;
}
