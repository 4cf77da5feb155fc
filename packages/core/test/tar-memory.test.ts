import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ByteSource, memorySource, toHex, zeroSource } from "@imgkit/bytes";
import { nativeSha256, openFile } from "@imgkit/bytes/node";
import { expect, test } from "vitest";
import { noXattrs, type TreeNode } from "../src/node.ts";
import { readTar } from "../src/tar/reader.ts";
import { writeTar } from "../src/tar/writer.ts";
import { Tree } from "../src/tree.ts";

// What the process holds at its highest, in MiB: a test's share is the growth, since the runner itself holds some 150 already.
const peak = (): number => process.resourceUsage().maxRSS / 1024;
const cpuSeconds = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1e6;

const long = process.env.IMGKIT_LONG === "1";
const files = long ? 100_000 : 20_000;
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1_700_000_000_000_000_000n, xattrs: noXattrs };
const file = (path: string, content: ByteSource): TreeNode => ({ ...meta, type: "file", path, content });

async function write(tree: Tree, descriptor?: number): Promise<string> {
  const hasher = nativeSha256.create();
  for await (const chunk of writeTar(tree, { epoch: 0 })) {
    hasher.update(chunk);
    if (descriptor !== undefined) writeSync(descriptor, chunk);
  }
  return toHex(hasher.digest());
}

test("one sparse file passes with flat memory, whatever its size", async () => {
  const before = peak();
  const size = (long ? 9 : 1) * 2 ** 30;
  let total = 0;
  for await (const chunk of writeTar(Tree.from([file("big", zeroSource(size))]), { epoch: 0 })) total += chunk.length;
  expect(total).toBeGreaterThan(size);
  expect(peak() - before).toBeLessThan(128);
});

test(`${files} small files are written, read and written again in less than 200 MiB, 10,000 of them in two seconds of CPU`, { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-memory-"));
  try {
    const before = peak();
    const started = cpuSeconds();
    const content = memorySource(new Uint8Array(700).fill(0x78));
    const place = join(folder, "archive.tar");
    const descriptor = openSync(place, "w");
    const names = Array.from({ length: files }, (_, i) => `usr/share/dir-${i % 1000}/file-number-${i}`);
    const written = await write(Tree.from(names.map((name) => file(name, content))), descriptor);
    closeSync(descriptor);
    const archive = openFile(place);
    const { tree } = await readTar(archive);
    expect(tree.size).toBe(files + 1003);
    expect(await write(tree)).toBe(written);
    archive.close();
    expect(cpuSeconds() - started).toBeLessThan(files / 5000);
    expect(peak() - before).toBeLessThan(200);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
