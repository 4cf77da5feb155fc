import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { type ByteSource, collect, streamSource } from "@imgkit/bytes";
import { createOutput, openFile } from "@imgkit/bytes/node";
import fc from "fast-check";
import type { DiskTarget } from "../src/disk/write.ts";
import { scratch } from "./helpers.ts";
import { inMemory, type SparseDisk, sparseSource } from "./sparse-disk.ts";

export { inMemory, type SparseDisk, sparseSource };

/** Disks of whole sectors, mostly holes. */
export function arbitraryDisk(maxSectors = 3000): fc.Arbitrary<SparseDisk> {
  return fc
    .record({
      sectors: fc.integer({ min: 1, max: maxSectors }),
      parts: fc.array(
        fc.record({ gap: fc.integer({ min: 0, max: 200_000 }), length: fc.integer({ min: 1, max: 150_000 }), seed: fc.nat(1000), text: fc.boolean() }),
        { maxLength: 6 },
      ),
    })
    .map(({ sectors, parts }) => {
      const size = 512 * sectors;
      const runs: SparseDisk["runs"][number][] = [];
      let end = 0;
      for (const { gap, length, seed, text } of parts) {
        const at = end + gap;
        if (at >= size) break;
        runs.push({ at, length: Math.min(length, size - at), seed: seed + 1, text });
        end = at + Math.min(length, size - at);
      }
      return { size, runs };
    });
}

/** What a writer makes, in a file. */
export async function inFile(write: (target: DiskTarget) => Promise<unknown>, name: string): Promise<string> {
  const path = join(scratch(), name);
  const output = createOutput(path);
  try {
    await write(output);
    output.commit();
  } finally {
    output.abort();
  }
  return path;
}

/** The disk as a file with its holes. */
export function rawFile(source: ByteSource): Promise<string> {
  return inFile(async (target) => {
    for (const { start, end } of (await source.dataRanges?.()) ?? [{ start: 0, end: source.size }]) await target.writeAt(start, await source.read(start, end));
    await target.truncate(source.size);
  }, "disk.raw");
}

/** What qemu-img or qemu-io prints; throws when it finds something wrong. */
export function qemu(tool: "qemu-img" | "qemu-io", ...args: string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export async function allOf(source: ByteSource): Promise<Uint8Array> {
  return collect(streamSource(source));
}

/** The bytes of a source through its data ranges alone: what a hole hides would be missing. */
export async function throughRanges(source: ByteSource): Promise<Uint8Array> {
  const out = new Uint8Array(source.size);
  for (const { start, end } of (await source.dataRanges?.()) ?? []) out.set(await source.read(start, end), start);
  return out;
}

/** Opens a file for a job. */
export async function withFile<T>(path: string, job: (file: ByteSource) => Promise<T>): Promise<T> {
  const file = openFile(path);
  try {
    return await job(file);
  } finally {
    file.close();
  }
}
