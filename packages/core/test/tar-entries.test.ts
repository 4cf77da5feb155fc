// An archive's entries as they stand there, for what is no tree by itself.
import { memorySource } from "@imgkit/bytes";
import { expect, test } from "vitest";
import { readTar, readTarEntries } from "../src/tar/reader.ts";
import { end, entry, join } from "./tar-craft.ts";

const archive = (...parts: Uint8Array[]) => memorySource(join(...parts, end));

test("no folder is added, and a hard link to nothing, to what comes later and to a directory is passed on", async () => {
  const source = archive(
    entry({ name: "a/b/file" }, "x"),
    entry({ name: "gone", typeflag: "1", linkname: "lower/file" }),
    entry({ name: "early", typeflag: "1", linkname: "late" }),
    entry({ name: "late" }),
  );
  const { nodes } = await readTarEntries(source);
  expect(nodes.map((node) => [node.path, node.type, node.type === "hardlink" ? node.target : ""])).toEqual([
    ["a/b/file", "file", ""],
    ["gone", "hardlink", "lower/file"],
    ["early", "hardlink", "late"],
    ["late", "file", ""],
  ]);
  await expect(readTar(source)).rejects.toMatchObject({ code: "BAD_LINK" });
});

test("a path twice and a path with .. are refused as in a tree; a directory may come again and keeps its place", async () => {
  await expect(readTarEntries(archive(entry({ name: "a" }), entry({ name: "./a" })))).rejects.toMatchObject({ code: "DUPLICATE_PATH" });
  await expect(readTarEntries(archive(entry({ name: "a/../b" })))).rejects.toMatchObject({ code: "BAD_PATH" });
  const { nodes } = await readTarEntries(
    archive(entry({ name: "d/", typeflag: "5" }), entry({ name: "d/f" }), entry({ name: "d", typeflag: "5", mode: 0o700 })),
  );
  expect(nodes.map(({ path, mode }) => [path, mode])).toEqual([
    ["d", 0o700],
    ["d/f", 0o644],
  ]);
});
