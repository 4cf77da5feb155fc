import { gzipSync } from "node:zlib";
import { collect } from "@imgkit/bytes";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { decompress as nodeDecompress } from "../src/decompress.node.ts";
import { decompress as portableDecompress } from "../src/decompress.ts";
import { detectCompression } from "../src/detect.ts";
import { cut, outcome, pipe, sample } from "./helpers.ts";

const text = sample(30_000, 11);

test.each([
  [[0x1f, 0x8b], "gzip"],
  [[0x1f], "none"],
  [[0x28, 0xb5, 0x2f, 0xfd], "zstd"],
  [[0x28, 0xb5, 0x2f], "none"],
  [[0x50, 0x2a, 0x4d, 0x18], "zstd"],
  [[0x5f, 0x2a, 0x4d, 0x18, 9], "zstd"],
  [[0x60, 0x2a, 0x4d, 0x18], "none"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], "xz"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "none"],
  [[], "none"],
  [[0x42, 0x5a, 0x68], "none"],
] as const)("the head %j is %s", (head, kind) => {
  expect(detectCompression(Uint8Array.from(head))).toBe(kind);
});

describe.each([
  ["portable", portableDecompress],
  ["node", nodeDecompress],
])("%s", (_name, decompress) => {
  oracle(
    "gzip",
    "xz",
    "zstd",
  )("each format is told by its head, however the head is cut", async () => {
    for (const packed of [pipe("gzip", ["-c"], text), pipe("xz", ["-c", "--check=sha256"], text), pipe("zstd", ["-q", "-c"], text), text]) {
      for (const sizes of [[1, 1, 1, 100_000], [4096]]) expect(Buffer.compare(await collect(decompress(cut(packed, sizes))), text)).toBe(0);
    }
  });

  oracle(
    "gzip",
    "xz",
    "zstd",
  )("a source that reuses one Buffer reads the same", async () => {
    for (const packed of [pipe("gzip", ["-c"], text), pipe("xz", ["-c", "--block-size=5000"], text), pipe("zstd", ["-q", "-c"], text)]) {
      const buffer = Buffer.alloc(3);
      const reused = function* (): Generator<Uint8Array> {
        for (const chunk of cut(packed, [3])) {
          buffer.fill(0xee).set(chunk);
          yield buffer.subarray(0, chunk.length);
        }
      };
      expect(Buffer.compare(await collect(decompress(reused())), text)).toBe(0);
    }
  });

  test("what is not compressed passes through, nothing too", async () => {
    expect(await collect(decompress([]))).toHaveLength(0);
    expect(await collect(decompress([Uint8Array.of(0x1f)]))).toEqual(Uint8Array.of(0x1f));
    expect(await collect(decompress([Uint8Array.of(1), Uint8Array.of(2, 3)]))).toEqual(Uint8Array.of(1, 2, 3));
  });

  oracle("xz", "zstd")("the limit holds for every format and for what passes through", async () => {
    for (const packed of [new Uint8Array(gzipSync(text)), pipe("xz", ["-c"], text), pipe("zstd", ["-q", "-c"], text), text]) {
      expect(await outcome(decompress([packed], { limit: text.length }))).toHaveProperty("bytes");
      expect(await outcome(decompress([packed], { limit: text.length - 1 }))).toMatchObject({ code: "LIMIT" });
    }
  });

  test("an error inside names the path and the byte of the input", async () => {
    const packed = new Uint8Array(gzipSync(text)).subarray(0, 1000);
    await expect(collect(decompress(cut(packed, [300]), { path: "a.tar.gz" }))).rejects.toThrow(
      /^a\.tar\.gz: the compressed data ends too early \(at byte 1000/,
    );
  });
});
