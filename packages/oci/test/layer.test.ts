import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { collect } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeEngines } from "../src/index.node.ts";
import { addLayer, type BlobStore, memoryBlobs, portableEngines, recomputeLayer } from "../src/index.ts";
import { gnuTar, makeRoot, temporaryFolder } from "./support.ts";

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const tar = gnuTar(makeRoot(temporaryFolder(), "root", "some text\n".repeat(5000)));
const empty = new Uint8Array(1024);

async function stored(store: BlobStore, digest: string): Promise<Uint8Array> {
  const source = await store.open(digest);
  return source.read(0, source.size);
}

test("gzip: the diff_id is the tar's digest, the descriptor the blob's digest and size", async () => {
  const store = memoryBlobs();
  const { descriptor, diffId, tarSize } = await addLayer(store, [tar]);
  const blob = await stored(store, descriptor.digest);
  expect(new Uint8Array(gunzipSync(blob))).toEqual(tar);
  expect([diffId, tarSize]).toEqual([sha256(tar), tar.length]);
  expect(descriptor).toEqual({ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: sha256(blob), size: blob.length });
});

test("none: the blob is the tar, and diff_id and digest are one", async () => {
  const store = memoryBlobs();
  const { descriptor, diffId } = await addLayer(store, [tar], { compression: "none", annotations: { a: "b" } });
  expect(await stored(store, descriptor.digest)).toEqual(tar);
  expect(descriptor).toEqual({ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: diffId, size: tar.length, annotations: { a: "b" } });
});

test("the same tar cut differently, by every engine, is the same layer", async () => {
  const reference = await addLayer(memoryBlobs(), [tar]);
  const cuts = fc.array(fc.nat(tar.length), { maxLength: 8 }).map((at) => [0, ...at.sort((a, b) => a - b), tar.length]);
  await fc.assert(
    fc.asyncProperty(cuts, fc.constantFrom(portableEngines, nodeEngines), async (at, engines) => {
      const chunks = at.slice(1).map((end, i) => tar.subarray(at[i], end));
      expect(await addLayer(memoryBlobs(), chunks, { engines })).toEqual(reference);
    }),
    { numRuns: 20 },
  );
});

test("a producer that reuses its buffer gives the same layer", async () => {
  const buffer = new Uint8Array(1000);
  async function* reusing(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < tar.length; at += buffer.length) {
      const part = tar.subarray(at, at + buffer.length);
      buffer.set(part);
      yield buffer.subarray(0, part.length);
    }
  }
  for (const compression of ["none", "gzip"] as const) {
    expect(await addLayer(memoryBlobs(), reusing(), { compression })).toEqual(await addLayer(memoryBlobs(), [tar], { compression }));
  }
});

test("40 MiB, enough for several threads, are the same layer by every engine", async () => {
  const large = new Uint8Array(40 << 20);
  large.set(tar);
  for (let at = tar.length; at < large.length; at += 4096) large[at] = at >>> 12;
  const portable = await addLayer(memoryBlobs(), [large], { engines: portableEngines });
  expect(await addLayer(memoryBlobs(), [large], { engines: nodeEngines })).toEqual(portable);
});

test("a source that breaks in the middle of 40 MiB breaks the layer with its own error", async () => {
  const breaking = async function* (): AsyncGenerator<Uint8Array> {
    yield tar;
    for (let i = 0; i < 40; i++) yield new Uint8Array(1 << 20).fill(i);
    throw new Error("the source broke");
  };
  await expect(addLayer(memoryBlobs(), breaking(), { engines: nodeEngines })).rejects.toThrow("the source broke");
});

test("two blocks of zeros are a layer: an empty one", async () => {
  expect((await addLayer(memoryBlobs(), [empty], { compression: "none" })).diffId).toBe(sha256(empty));
});

describe("what is no tar is refused, and nothing is kept", () => {
  const refused: readonly [claim: string, bytes: Uint8Array][] = [
    ["no bytes", new Uint8Array(0)],
    ["a compressed tar", new Uint8Array(gzipSync(tar))],
    ["a tar that was cut", tar.subarray(0, tar.length - 100)],
    ["less than a block", tar.subarray(0, 100)],
    ["text", new TextEncoder().encode("x".repeat(1024))],
  ];
  test.each(refused)("%s", async (_claim, bytes) => {
    const kept: string[] = [];
    const store = memoryBlobs();
    const watching: BlobStore = {
      ...store,
      put: async (stream, expected) => {
        const id = await store.put(stream, expected);
        kept.push(id.digest);
        return id;
      },
    };
    for (const compression of ["gzip", "none"] as const) {
      for (const engines of [portableEngines, nodeEngines]) {
        await expect(addLayer(watching, [bytes], { compression, engines })).rejects.toMatchObject({ code: "BAD_LAYER" });
      }
    }
    expect(kept).toEqual([]);
  });
});

test("zstd is refused with the reason and what to use", async () => {
  await expect(addLayer(memoryBlobs(), [tar], { compression: "zstd" })).rejects.toThrow(/zstd .* change with their version\. Use gzip/);
});

describe("a store in memory", () => {
  test("gives back what was put, and knows what it has not", async () => {
    const store = memoryBlobs();
    const { digest, size } = await store.put([tar.subarray(0, 10), tar.subarray(10)]);
    expect([digest, size, await store.has(digest), await store.has(sha256(empty))]).toEqual([sha256(tar), tar.length, true, false]);
    expect(await collect([await stored(store, digest)])).toEqual(tar);
    await expect(store.open(sha256(empty))).rejects.toMatchObject({ code: "BLOB_MISSING" });
  });

  test.each([
    ["another digest", { digest: sha256(empty) }],
    ["fewer bytes", { size: tar.length - 1 }],
    ["more bytes", { size: tar.length + 1 }],
  ])("keeps nothing when %s was expected", async (_claim, expected) => {
    const store = memoryBlobs();
    await expect(store.put([tar], expected)).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
    expect(await store.has(sha256(tar))).toBe(false);
  });

  test("an endless stream is left at the first byte too many", async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        given += 100;
        yield new Uint8Array(100);
      }
    }
    await expect(memoryBlobs().put(endless(), { size: 1000 })).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
    expect(given).toBe(1100);
  });
});

describe("a published layer made anew", () => {
  const other = gnuTar(makeRoot(temporaryFolder(), "root", "other text\n"));

  test.each([
    ["none", "none"],
    ["gzip", "default"],
    ["gzip", "fast"],
  ] as const)("%s, %s: from the same tar comes the same digest, and the packing is named", async (compression, packing) => {
    const how = packing === "none" ? { compression } : { compression, level: packing };
    const { descriptor, diffId } = await addLayer(memoryBlobs(), [tar], how);
    const made = await recomputeLayer(() => [tar], { digest: descriptor.digest, diffId, compression });
    expect(made).toMatchObject({ ok: true, packing, diffId });
    expect(made.tried.at(-1)).toEqual({ packing, digest: descriptor.digest });
  });

  test("another tar is told by its diff_id, after one try", async () => {
    const { descriptor, diffId } = await addLayer(memoryBlobs(), [tar]);
    const made = await recomputeLayer(() => [other], { digest: descriptor.digest, diffId, compression: "gzip" });
    expect(made).toMatchObject({ ok: false, diffId: sha256(other) });
    expect(made.packing).toBeUndefined();
    expect(made.tried).toHaveLength(1);
  });

  test("the same tar packed by another gzip, or by zstd: the diff_id is made anew, the digest is not", async () => {
    const theirs = sha256(gzipSync(tar));
    for (const compression of ["gzip", "zstd"] as const) {
      const made = await recomputeLayer(() => [tar], { digest: theirs, diffId: sha256(tar), compression });
      expect(made).toMatchObject({ ok: false, diffId: sha256(tar) });
    }
  });
});
