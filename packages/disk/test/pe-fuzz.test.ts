import { type ByteSource, collect, ImgkitError, memorySource, streamSource } from "@imgkit/bytes";
import { expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { authenticodeHash } from "../src/pe/authenticode.ts";
import { pkcs7Certificate, readCertificates, withCertificates } from "../src/pe/certificates.ts";
import { createUki } from "../src/uki/build.ts";
import { kernelRelease } from "../src/uki/kernel.ts";
import { readUki } from "../src/uki/reader.ts";
import { makeKernel, makePe } from "./pe-helpers.ts";

const mutations = process.env.IMGKIT_LONG === "1" ? 50_000 : 3000;

const all = async (source: ByteSource): Promise<Uint8Array> => (await collect(streamSource(source))).slice();

/** A signed UKI, and the parts of one; each with the bytes that hold structures. */
async function seeds(): Promise<Record<"uki" | "stub" | "kernel", { bytes: Uint8Array; spots: readonly (readonly [start: number, end: number])[] }>> {
  const [stub, kernel] = [makePe({ symbols: 3 }), makeKernel()];
  const uki = await createUki({ stub: memorySource(stub), linux: memorySource(kernel), commandLine: "quiet" });
  const signed = await all(await withCertificates(uki, [pkcs7Certificate(pseudoRandomBytes(1, 100)), pkcs7Certificate(pseudoRandomBytes(2, 51))]));
  const headers = [
    [0, 64],
    [128, 400],
    [376, 700],
  ] as const;
  return {
    uki: { bytes: signed, spots: [...headers, [uki.size, signed.length]] },
    stub: { bytes: stub, spots: headers },
    kernel: { bytes: kernel, spots: [...headers, [0x200, 0x210]] },
  };
}

test(`${mutations} mutated images are read or refused with a typed error, quickly and in little memory`, async () => {
  const { uki, stub, kernel } = await seeds();
  const random = new DataView(pseudoRandomBytes(0x9e, 1 << 20).buffer);
  let next = 0;
  const draw = (limit: number): number => {
    next = (next + 4) % random.byteLength;
    return random.getUint32(next, true) % limit;
  };
  const mutated = ({ bytes, spots }: typeof uki): ByteSource => {
    const image = bytes.slice();
    for (let change = draw(3); change >= 0; change--) {
      const [start, end] = spots[draw(spots.length)] as readonly [number, number];
      image[start + draw(end - start)] = [0, 0xff, 0x7f, 0x80, draw(256)][draw(5)] ?? 0;
    }
    return memorySource(draw(10) === 0 ? image.subarray(0, draw(image.length)) : image);
  };
  const jobs: readonly (() => Promise<unknown>)[] = [
    async () => {
      for (const { content } of (await readUki(mutated(uki))).sections) await content.read(0, content.size);
    },
    async () => readCertificates(mutated(uki)),
    async () => authenticodeHash(mutated(uki)),
    async () => all(await withCertificates(mutated(uki), [pkcs7Certificate(new Uint8Array(9))])),
    async () => all(await createUki({ stub: mutated(stub), linux: memorySource(kernel.bytes), commandLine: "quiet" })),
    async () => all(await createUki({ stub: memorySource(stub.bytes), linux: mutated(kernel) })),
    async () => kernelRelease(mutated(kernel)),
  ];
  const outcomes = { read: 0, refused: 0 };
  let slowest = 0;
  for (let i = 0; i < mutations; i++) {
    const begun = performance.now();
    try {
      await jobs[i % jobs.length]?.();
      outcomes.read += 1;
    } catch (error) {
      if (!(error instanceof ImgkitError)) throw error;
      outcomes.refused += 1;
    }
    slowest = Math.max(slowest, performance.now() - begun);
  }
  // Both happen often, or the mutations are too wild or too tame to tell anything.
  expect(outcomes.read).toBeGreaterThan(mutations / 10);
  expect(outcomes.refused).toBeGreaterThan(mutations / 10);
  expect(slowest).toBeLessThan(2000);
  expect(process.memoryUsage().rss).toBeLessThan(700 * 2 ** 20);
}, 600_000);
