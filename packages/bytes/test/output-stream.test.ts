import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { bufferPool } from "../src/buffers.ts";
import { createOutput } from "../src/output.node.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-stream-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Arrays of a pool, each filled with its number, cut to these lengths. */
function* numbered(lengths: readonly number[], take: (size: number) => Uint8Array): Generator<Uint8Array> {
  for (const [i, length] of lengths.entries()) yield take(400_000).fill(i).subarray(0, length);
}

const expected = (lengths: readonly number[]): Buffer => Buffer.concat(lengths.map((length, i) => Buffer.alloc(length, i)));

async function write(path: string, stream: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, used?: (chunk: Uint8Array) => void): Promise<number> {
  const output = createOutput(path);
  try {
    const size = await output.appendStream(stream, used);
    output.commit();
    return size;
  } finally {
    output.abort();
  }
}

describe("a stream appended to an output", () => {
  const lengths = fc.array(fc.integer({ min: 0, max: 400_000 }), { maxLength: 12 });

  test("is there whole, whether its arrays are lent or not, and each lent one comes back once", async () => {
    await fc.assert(
      fc.asyncProperty(lengths, async (sizes) => {
        const back: Uint8Array[] = [];
        const given = [...numbered(sizes, (size) => new Uint8Array(size))];
        const path = join(folder, "out");
        expect(await write(path, given, (chunk) => back.push(chunk.fill(0xff)))).toBe(expected(sizes).length);
        expect(readFileSync(path).equals(expected(sizes))).toBe(true);
        expect(back.length === given.length && back.every((chunk, i) => chunk === given[i])).toBe(true);
        await write(
          path,
          numbered(sizes, (size) => new Uint8Array(size)),
        );
        expect(readFileSync(path).equals(expected(sizes))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  test("of 80 MB is written with few arrays, and stands behind what was there", async () => {
    const pool = bufferPool();
    const made = new Set<ArrayBufferLike>();
    const sizes = Array.from({ length: 200 }, () => 400_000);
    const take = (size: number): Uint8Array => {
      const bytes = pool.take(size);
      made.add(bytes.buffer);
      return bytes;
    };
    const output = createOutput(join(folder, "out"));
    output.append(Uint8Array.of(1, 2, 3));
    expect(await output.appendStream(numbered(sizes, take), pool.give)).toBe(80_000_000);
    output.append(Uint8Array.of(4));
    output.commit();
    expect(readFileSync(join(folder, "out")).equals(Buffer.concat([Buffer.of(1, 2, 3), expected(sizes), Buffer.of(4)]))).toBe(true);
    expect(made.size).toBeLessThan(12);
  });

  test.each([undefined, () => undefined])("that fails leaves nothing behind and fails with its own error (%s)", async (used) => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 40; i++) yield new Uint8Array(100_000);
      throw new Error("no more");
    }
    await expect(write(join(folder, "out"), failing(), used)).rejects.toThrow("no more");
    expect(readdirSync(folder)).toEqual([]);
  });

  oracle("/dev/full").each([undefined, () => undefined])("to a full device fails with OUTPUT_FAILED (%s)", async (used) => {
    const sizes = [400_000, 400_000, 400_000, 400_000];
    const failure = expect.objectContaining({ code: "OUTPUT_FAILED", kind: "system", message: expect.stringContaining("no space left") });
    await expect(
      write(
        "/dev/full",
        numbered(sizes, (size) => new Uint8Array(size)),
        used,
      ),
    ).rejects.toThrow(failure);
  });
});
