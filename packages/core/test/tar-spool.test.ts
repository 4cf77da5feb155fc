import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { spoolStream } from "../src/spool.node.ts";
import { readTar } from "../src/tar/reader.ts";
import { end, entry, join as joinBytes } from "./tar-craft.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "imgkit-spool-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a stream becomes a source of the same bytes, in any order of reading, and leaves no name behind", async () => {
  const chunks = [Uint8Array.of(0, 1, 2), new Uint8Array(0), new Uint8Array(300_000).fill(7), Uint8Array.of(9)];
  const source = await spoolStream(chunks, folder);
  expect(readdirSync(folder)).toEqual([]);
  expect(source.size).toBe(300_004);
  expect(await source.read(300_002, 300_004)).toEqual(Uint8Array.of(7, 9));
  expect(await source.read(1, 4)).toEqual(Uint8Array.of(1, 2, 7));
  expect(await source.read(5, 5)).toEqual(new Uint8Array(0));
  expect(() => source.read(0, 300_005)).toThrow(expect.objectContaining({ code: "RANGE_OUTSIDE_SOURCE" }));
  source.close();
  source.close();
  expect(existsSync(folder)).toBe(true);
});

test("a chunk may be overwritten by its producer once the next is asked for", async () => {
  function* reusing(): Generator<Uint8Array> {
    const buffer = new Uint8Array(4);
    for (let i = 1; i <= 3; i++) yield buffer.fill(i);
  }
  const source = await spoolStream(reusing(), folder);
  expect(await source.read(0, 12)).toEqual(Uint8Array.of(1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
  source.close();
});

test("a tar that comes as a stream is read with its contents", async () => {
  const archive = joinBytes(entry({ name: "a" }, "content"), end);
  const source = await spoolStream([archive.subarray(0, 700), archive.subarray(700)], folder);
  const { tree } = await readTar(source);
  const node = tree.get("a");
  if (node?.type !== "file") throw new Error("a is no file");
  expect(new TextDecoder().decode(await node.content.read(0, 7))).toBe("content");
  source.close();
});

describe("what fails", () => {
  test("a stream that fails fails the spool with its own error, and nothing is left", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(10);
      throw new Error("the network went away");
    }
    await expect(spoolStream(broken(), folder)).rejects.toThrow("the network went away");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("a folder that is not there is told, with what to do", async () => {
    await expect(spoolStream([], join(folder, "missing"))).rejects.toThrow(
      expect.objectContaining({ code: "SOURCE_FAILED", kind: "system", message: expect.stringContaining("Point TMPDIR at a folder with enough space.") }),
    );
  });
});
