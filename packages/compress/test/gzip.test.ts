import { Worker } from "node:worker_threads";
import { gunzipSync } from "node:zlib";
import { type ByteStream, collect, crc32, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { gunzipSync as fflateGunzip } from "fflate";
import { describe, expect, test, vi } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { crc32Combine, crc32Shift } from "../src/crc32-combine.ts";
import { CompressError } from "../src/errors.ts";
import { gunzip } from "../src/gunzip.ts";
import { gzip as nodeGzip } from "../src/gzip.node.ts";
import { type GzipLevel, gzip } from "../src/gzip.ts";
import { cut, join, pipe, random, sample } from "./helpers.ts";

const MIB = 1 << 20;
const levels: readonly GzipLevel[] = ["fast", "default"];
const text = sample(2_500_000, 41);

/** What may go wrong at the edges of a chunk, of a window, of a block. */
const shapes: readonly (readonly [string, Uint8Array])[] = [
  ["nothing", new Uint8Array(0)],
  ["one byte", Uint8Array.of(9)],
  ["a chunk less one byte", sample(MIB - 1, 42)],
  ["a chunk", sample(MIB, 43)],
  ["a chunk and one byte", sample(MIB + 1, 44)],
  ["two chunks and three bytes", sample(2 * MIB + 3, 45)],
  ["8 MiB of zeros", new Uint8Array(8 * MIB)],
  ["8 MiB of one pattern", new Uint8Array(8 * MIB).map((_, i) => i % 251)],
  ["random bytes", noise(3 * MIB + 77)],
  ["random and structured by turns", join(noise(300_000), sample(900_000, 46), noise(500_000), new Uint8Array(200_000))],
  ["a few letters", noise(MIB + 5).map((byte) => 65 + (byte & 3))],
  // Skewed so far that a code without a limit would be longer than 15 bits.
  ["counts like Fibonacci's", fibonacci()],
];

function noise(size: number): Uint8Array {
  const next = random(77);
  return Uint8Array.from({ length: size }, () => next(65536) >> 8);
}

function fibonacci(): Uint8Array {
  const out: number[] = [];
  for (let byte = 0, a = 1, b = 1; byte < 24; byte++) {
    for (let i = 0; i < a; i++) out.push(byte);
    [a, b] = [b, a + b];
  }
  // Shuffled, so that they do not become matches.
  const next = random(5);
  for (let i = out.length - 1; i > 0; i--) {
    const j = next(i + 1);
    [out[i], out[j]] = [out[j] as number, out[i] as number];
  }
  return Uint8Array.from(out);
}

test("the header says nothing about time, name or host", async () => {
  expect(toHex((await collect(gzip([]))).subarray(0, 10))).toBe("1f8b08000000000000ff");
});

test("a level that there is not is refused", async () => {
  await expect(collect(gzip([], { level: "best" as GzipLevel }))).rejects.toThrow('level must be "fast" or "default", got "best"');
});

describe.each(levels)("%s", (level) => {
  test("however the input is cut, the same bytes", async () => {
    const whole = await collect(gzip([text], { level }));
    for (const sizes of [[MIB], [1 << 16], [MIB - 1, 2], [7, 0, 300_001]]) {
      expect(Buffer.compare(await collect(gzip(cut(text, sizes), { level })), whole)).toBe(0);
    }
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(600_000), { minLength: 1, maxLength: 5 }), async (sizes) => {
        expect(Buffer.compare(await collect(gzip(cut(text, [...sizes, 200_000]), { level })), whole)).toBe(0);
      }),
      { numRuns: 10 },
    );
  });

  test("with any number of threads, the same bytes", async () => {
    const input = join(text, noise(MIB), text, text, text);
    const whole = await collect(gzip([input], { level }));
    for (const options of [{ level }, { level, workers: 1 }, { level, workers: 2 }, { level, workers: 7 }]) {
      expect(Buffer.compare(await collect(nodeGzip(cut(input, [333_333]), options)), whole)).toBe(0);
    }
  });

  test.each(shapes)("%s inflates equal in zlib, fflate and our own reader, and grows by less than 0.1 %", async (_name, bytes) => {
    await inflatesEqual(bytes, level);
  });

  test("any input inflates equal in zlib, fflate and our own reader", async () => {
    const structured = fc.tuple(fc.nat(200_000), fc.integer({ min: 1, max: 1 << 30 })).map(([size, seed]) => sample(size, seed));
    const few = fc.tuple(fc.nat(3000), fc.integer({ min: 1, max: 4 })).chain(([size, letters]) => fc.uint8Array({ maxLength: size, max: letters }));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 5000 }), few, structured), (bytes) => inflatesEqual(bytes, level)),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 3000 : 60 },
    );
  });

  test("any input of up to 8 MiB does, structured, random and long runs by turns", async () => {
    const part = fc.tuple(fc.constantFrom("structured", "random", "run"), fc.nat(4 * MIB), fc.integer({ min: 1, max: 1 << 30 }));
    const parts = fc.array(part, { maxLength: 4 }).map((list) =>
      join(
        ...list.map(([kind, size, seed]) => {
          if (kind === "run") return new Uint8Array(size).fill(seed);
          return kind === "structured" ? sample(size, seed) : noise(size);
        }),
      ).subarray(0, 8 * MIB),
    );
    await fc.assert(
      fc.asyncProperty(parts, (bytes) => inflatesEqual(bytes, level)),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 100 : 3 },
    );
  });

  oracle(
    "gzip",
    "pigz",
    "python3",
  )("gzip, pigz, Python and DecompressionStream read it", async () => {
    for (const bytes of [text, noise(MIB + 1), new Uint8Array(0)]) {
      const packed = await collect(gzip([bytes], { level }));
      expect(Buffer.compare(pipe("gzip", ["-dc"], packed), bytes)).toBe(0);
      expect(Buffer.compare(pipe("pigz", ["-dc"], packed), bytes)).toBe(0);
      const python = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
      expect(Buffer.compare(pipe("python3", ["-c", python], packed), bytes)).toBe(0);
      const web = new Blob([packed.slice().buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
      expect(Buffer.compare(await collect(web as unknown as ByteStream), bytes)).toBe(0);
    }
  });

  oracle("gzip")("on text it is no more than 3 % larger than gzip -6, on repetitive data not at all", async () => {
    const size = async (bytes: Uint8Array): Promise<number> => (await collect(gzip([bytes], { level: "default" }))).length;
    const log = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `${i * 37} GET /layer/${(i * 7919) % 997} HTTP/1.1 200 ${i % 13}\n`).join(""));
    expect(await size(log)).toBeLessThan(pipe("gzip", ["-6", "-n", "-c"], log).length * 1.03);
    expect(await size(text)).toBeLessThan(pipe("gzip", ["-6", "-n", "-c"], text).length);
  });
});

async function inflatesEqual(bytes: Uint8Array, level: GzipLevel): Promise<void> {
  const packed = await collect(gzip([bytes], { level }));
  expect(Buffer.compare(gunzipSync(packed), bytes)).toBe(0);
  expect(Buffer.compare(fflateGunzip(packed), bytes)).toBe(0);
  expect(Buffer.compare(await collect(gunzip([packed])), bytes)).toBe(0);
  expect(packed.length).toBeLessThanOrEqual(Math.ceil(bytes.length * 1.001) + 40);
}

test("a source that reuses its buffer gives the same bytes", async () => {
  const buffer = new Uint8Array(50_000);
  function* reused(): Generator<Uint8Array> {
    for (const chunk of cut(text, [50_000])) {
      buffer.set(chunk);
      yield buffer.subarray(0, chunk.length);
    }
  }
  expect(Buffer.compare(await collect(gzip(reused())), await collect(gzip([text])))).toBe(0);
  expect(Buffer.compare(await collect(nodeGzip(reused(), { workers: 2 })), await collect(gzip([text])))).toBe(0);
});

/** A source without an end, and whether it was closed. */
function endlessNoise(): { chunks: () => Generator<Uint8Array>; closed: () => boolean } {
  let closed = false;
  return {
    *chunks() {
      try {
        for (;;) yield noise(MIB);
      } finally {
        closed = true;
      }
    },
    closed: () => closed,
  };
}

describe("threads", () => {
  test("no more is read than the threads can hold while nobody takes the output", async () => {
    let taken = 0;
    function* source(): Generator<Uint8Array> {
      for (; taken < 64; taken++) yield new Uint8Array(MIB);
    }
    const output = nodeGzip(source(), { workers: 2 });
    await output.next();
    await output.next();
    // Two threads with two chunks each, and the one that is being filled.
    expect(taken).toBeLessThanOrEqual(6);
    await output.return();
  });

  test("a consumer that stops early ends the threads and closes the source", async () => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === "Worker" || kind === "MessagePort").length;
    const endless = endlessNoise();
    let chunks = 0;
    for await (const _ of nodeGzip(endless.chunks(), { workers: 3 })) if (++chunks === 3) break;
    expect(endless.closed()).toBe(true);
    expect(process.getActiveResourcesInfo().filter((kind) => kind === "Worker" || kind === "MessagePort")).toHaveLength(before);
  });

  test("an error of the source comes through as it is, and ends the threads", async () => {
    function* source(): Generator<Uint8Array> {
      yield noise(3 * MIB);
      throw new RangeError("the disk is on fire");
    }
    await expect(collect(nodeGzip(source(), { workers: 2 }))).rejects.toThrow("the disk is on fire");
  });

  const { postMessage } = Worker.prototype;
  test.each<[how: string, instead: (this: Worker) => void, message: RegExp]>([
    [
      "ends",
      function () {
        void this.terminate();
      },
      /^a compressing thread failed: it ended with code 1$/,
    ],
    [
      "throws",
      function () {
        postMessage.call(this, { buffer: null });
      },
      /^a compressing thread failed: .*null/,
    ],
  ])("a thread that %s is WORKER_FAILED, the source is closed and the other threads end", async (_, instead, message) => {
    const before = process.getActiveResourcesInfo().filter((kind) => kind === "Worker" || kind === "MessagePort").length;
    const endless = endlessNoise();
    let jobs = 0;
    const spy = vi.spyOn(Worker.prototype, "postMessage").mockImplementation(function (this: Worker, ...job: Parameters<Worker["postMessage"]>) {
      // The third of the first thread: it has done work before.
      if (++jobs === 5) instead.call(this);
      else postMessage.apply(this, job);
    });
    try {
      const error = await collect(nodeGzip(endless.chunks(), { workers: 2 })).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(CompressError);
      expect(error).toMatchObject({ code: "WORKER_FAILED", kind: "system", message: expect.stringMatching(message), cause: expect.any(Error) });
    } finally {
      spy.mockRestore();
    }
    expect(endless.closed()).toBe(true);
    expect(process.getActiveResourcesInfo().filter((kind) => kind === "Worker" || kind === "MessagePort")).toHaveLength(before);
  });

  test.each([0, 1.5, 65, Number.NaN])("%s workers are refused", (workers) => {
    expect(() => nodeGzip([], { workers })).toThrow(`workers must be 1 to 64, got ${workers}`);
  });
});

test("the CRC-32 of two strings follows from the CRC-32 of each", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
      expect(crc32Combine(crc32(a), crc32(b), crc32Shift(b.length))).toBe(crc32(join(a, b)));
    }),
  );
});
