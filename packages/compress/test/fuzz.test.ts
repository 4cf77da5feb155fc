import { deflateRawSync, gzipSync } from "node:zlib";
import { crc32 } from "@imgkit/bytes";
import { describe, expect, test, vi } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { gunzip as nodeGunzip } from "../src/gunzip.node.ts";
import { gunzip } from "../src/gunzip.ts";
import { unxz } from "../src/xz.ts";
import { unzstd } from "../src/zstd.ts";
import { cut, join, outcome, pipe, random, sample } from "./helpers.ts";

const ROUNDS = process.env.IMGKIT_LONG === "1" ? 40_000 : 2000;
const LIMIT = 1 << 20;

// A long run takes minutes where another job has the CPU.
vi.setConfig({ testTimeout: 300_000 });

/** Flips, overwrites, removes, repeats or inserts bytes, one to four times, away from the first `keep` bytes. */
function mutate(bytes: Uint8Array, next: (below: number) => number, keep: number): Uint8Array {
  let out: Uint8Array = bytes.slice();
  for (let times = 1 + next(4); times > 0 && out.length > keep; times--) {
    const at = keep + next(out.length - keep);
    const kind = next(6);
    if (kind === 0) out[at] = (out[at] as number) ^ (1 << next(8));
    else if (kind === 1) out[at] = next(256);
    else if (kind === 2) out = out.slice(0, at);
    else if (kind === 3) out = join(out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + next(8))));
    else if (kind === 4) out = join(out.subarray(0, at), out.subarray(Math.max(keep, at - next(30))));
    else out = join(out.subarray(0, at), sample(1 + next(5), 1 + next(1000)), out.subarray(at));
  }
  return out;
}

const sameOutcome = async (bad: Uint8Array, what: string): Promise<void> => {
  const a = await outcome(gunzip([bad], { limit: LIMIT }));
  const b = await outcome(nodeGunzip([bad], { limit: LIMIT }));
  if ("bytes" in a && "bytes" in b) return expect(Buffer.compare(a.bytes, b.bytes), what).toBe(0);
  expect("code" in a ? [a.code, a.offset] : a, `${what}: ${Buffer.from(bad).toString("hex")}`).toEqual("code" in b ? [b.code, b.offset] : b);
};

describe("whatever is done to valid data, both ways of reading gzip give the same bytes or the same error at the same byte", () => {
  const inputs = [
    new Uint8Array(gzipSync(sample(700, 21))),
    new Uint8Array(gzipSync(sample(5000, 22), { strategy: 4 })),
    new Uint8Array(gzipSync(sample(300, 23), { level: 0 })),
    join(new Uint8Array(gzipSync("one")), new Uint8Array(gzipSync("two")), new Uint8Array(9)),
  ];
  test.each(inputs.map((input, i) => [i, input] as const))("gzip input %i", async (i, input) => {
    const next = random(100 + i);
    for (let round = 0; round < ROUNDS; round++) await sameOutcome(mutate(input, next, 0), `round ${round}`);
  });

  test("random bits where deflate data belong", async () => {
    const next = random(7);
    const head = new Uint8Array(gzipSync("")).subarray(0, 10);
    for (let round = 0; round < ROUNDS; round++) {
      const body = Uint8Array.from({ length: 1 + next(80) }, () => next(256));
      // A dynamic block more often than not: its header has the most to get wrong.
      if (next(3) > 0) body[0] = ((body[0] as number) & 0xf8) | 4;
      await sameOutcome(join(head, body), `round ${round}`);
    }
  });

  test("damaged deflate data under a right CRC-32 and size", async () => {
    const next = random(8);
    const bytes = sample(400, 24);
    const head = new Uint8Array(gzipSync("")).subarray(0, 10);
    const trailer = new Uint8Array(8);
    new DataView(trailer.buffer).setUint32(0, crc32(bytes), true);
    new DataView(trailer.buffer).setUint32(4, bytes.length, true);
    const raw = new Uint8Array(deflateRawSync(bytes));
    for (let round = 0; round < ROUNDS; round++) await sameOutcome(join(head, mutate(raw, next, 0), trailer), `round ${round}`);
  });
});

describe("whatever is done to valid data, a typed error or the right bytes, no crash and no hang", () => {
  const never = async (packed: Uint8Array, bytes: Uint8Array, read: typeof unxz, checked: boolean): Promise<void> => {
    const next = random(packed.length);
    let errors = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const bad = mutate(packed, next, 0);
      const result = await outcome(read(cut(bad, [1 + next(200)]), { limit: LIMIT }));
      if ("code" in result) errors++;
      // Two whole copies and an empty rest are right answers too: mutation may cut at a stream's end.
      else if (checked && result.bytes.length > 0) expect(Buffer.compare(result.bytes.subarray(0, bytes.length), bytes), `round ${round}`).toBe(0);
    }
    expect(errors).toBeGreaterThan(ROUNDS / 2);
  };

  oracle("xz")("xz", async () => {
    const bytes = sample(900, 31);
    await never(pipe("xz", ["-c"], bytes), bytes, unxz, true);
    const long = sample(60_000, 32);
    await never(pipe("xz", ["-c", "--block-size=30000", "--check=crc32"], long), long, unxz, true);
  });

  oracle("zstd")("zstd", async () => {
    const bytes = sample(3000, 33);
    await never(pipe("zstd", ["-q", "-c", "-19"], bytes), bytes, unzstd, true);
    await never(pipe("zstd", ["-q", "-c", "--no-check"], bytes), bytes, unzstd, false);
    const letters = Uint8Array.from({ length: 20_000 }, (_, i) => 65 + ((Math.imul(i, 0x9e3779b1) >>> 20) & 7));
    await never(pipe("zstd", ["-q", "-c"], letters), letters, unzstd, true);
  });
});
