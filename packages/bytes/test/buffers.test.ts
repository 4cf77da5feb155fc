import { describe, expect, test } from "vitest";
import { bufferPool } from "../src/buffers.ts";

describe("a pool of arrays", () => {
  test("gives out again what it was given back, if the size is the same", () => {
    const pool = bufferPool();
    const first = pool.take(8);
    expect(pool.take(8)).not.toBe(first);
    pool.give(first);
    expect(pool.take(16)).not.toBe(first);
    expect(pool.take(8)).toBe(first);
  });

  test("never gives one array to two", () => {
    const pool = bufferPool();
    const bytes = pool.take(8);
    pool.give(bytes);
    pool.give(bytes);
    expect(pool.take(8)).toBe(bytes);
    expect(pool.take(8)).not.toBe(bytes);
  });

  test("lets go of parts of its arrays and of arrays of others", () => {
    const pool = bufferPool();
    const bytes = pool.take(8);
    const foreign = new Uint8Array(4);
    pool.give(bytes.subarray(0, 4));
    pool.give(foreign);
    const next = pool.take(4);
    expect(next).not.toBe(foreign);
    expect(next.buffer).not.toBe(bytes.buffer);
  });
});
