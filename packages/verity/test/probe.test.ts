import { expect, test } from "vitest";
import { type LayoutInput, verityLayout } from "../src/index.ts";
import { fasterModule } from "../src/probe.node.ts";
import { simdModule } from "../src/simd/engine.ts";

const layout = (changes: Partial<LayoutInput> = {}) =>
  verityLayout({ hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: new Uint8Array(0), dataBlocks: 8192, ...changes });

/** A clock by which each of the first `rounds` measurements of 32 KiB takes `first` milliseconds, and each later one `then`. */
function clock(rounds: number, first: number, then: number): { now: () => number; asked: () => number } {
  let asked = 0;
  let time = 0;
  return {
    now: () => {
      if (asked++ % 2 === 1) time += asked <= 2 * rounds ? first : then;
      return time;
    },
    asked: () => asked,
  };
}

// 32,768 bytes in 0.025 ms are 1,311 MB/s, in 0.08 ms 410 MB/s, in 0.05 ms 655 MB/s.
test.each<[what: string, native: number, simd: number, chosen: boolean]>([
  ["OpenSSL with SHA instructions is fast: WebAssembly is not even tried", 0.025, 0.001, false],
  ["OpenSSL without them is slower than WebAssembly", 0.08, 0.05, true],
  ["WebAssembly is slower still", 0.08, 0.1, false],
])("%s", async (_, native, simd, chosen) => {
  const { now, asked } = clock(8, native, simd);
  const module = await fasterModule(layout(), undefined, now);
  expect(module).toBe(chosen ? await simdModule() : undefined);
  if (native < 0.03) expect(asked()).toBe(16);
});

test("a single slow round, of a machine that is busy, does not count", async () => {
  let asked = 0;
  let time = 0;
  const now = (): number => {
    if (asked++ % 2 === 1) time += asked === 8 ? 0.025 : 5;
    return time;
  };
  expect(await fasterModule(layout(), undefined, now)).toBeUndefined();
});

test("nobody looks where it does not matter: little data, another algorithm, a caller who has decided", async () => {
  const never = (): number => {
    throw new Error("the clock was read");
  };
  expect(await fasterModule(layout({ dataBlocks: 100 }), undefined, never)).toBeUndefined();
  expect(await fasterModule(layout({ hash: "sha512" }), "simd", never)).toBeUndefined();
  expect(await fasterModule(layout(), "native", never)).toBeUndefined();
  expect(await simdModule()).toBeDefined();
  expect(await fasterModule(layout({ dataBlocks: 100 }), "simd", never)).toBe(await simdModule());
});
