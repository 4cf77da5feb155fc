// Garbage in a layout, and several writers at one.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { collectGarbage, createLayout, directoryFiles, nodeEngines, openLayout } from "../src/index.node.ts";
import { blobPath, buildIndex, type Image, loadImage, resolveTag, tagOf, verifyLayout } from "../src/index.ts";
import { file, folder, imageOf } from "./layers.ts";
import { run, temporaryFolder } from "./support.ts";

const scratch = temporaryFolder();
let count = 0;

const image = async (path: string, tag: string, text: string): Promise<Image> => {
  const writer = await createLayout(path);
  const made = await imageOf(writer.blobs, [
    [folder(""), file("shared", "same")],
    [folder(""), file("own", text)],
  ]);
  writer.add(made.descriptor, tag);
  await writer.commit();
  return made;
};
const blobsOf = (path: string): string[] => readdirSync(join(path, "blobs/sha256")).sort();
const hex = (digest: string): string => digest.slice("sha256:".length);
const codes = async (path: string): Promise<string[]> => (await verifyLayout(directoryFiles(path), { engines: nodeEngines })).findings.map(({ code }) => code);

/** A layout whose tag was given to another image. */
async function withGarbage(): Promise<{ path: string; old: Image; now: Image }> {
  const path = join(scratch, `layout-${count++}`);
  const old = await image(path, "t", "old");
  return { path, old, now: await image(path, "t", "new") };
}

describe("what nothing leads to goes, and nothing else", () => {
  test("an image whose tag was given away: its own blobs, not those that it shared", async () => {
    const { path, old, now } = await withGarbage();
    expect(await codes(path)).toEqual(["UNREFERENCED_BLOB", "UNREFERENCED_BLOB", "UNREFERENCED_BLOB"]);
    const report = await collectGarbage(path);
    const [shared, own] = old.manifest.layers;
    expect(report.removed.map(({ digest }) => digest)).toEqual([old.descriptor.digest, old.manifest.config.digest, own?.digest].sort());
    expect(report).toMatchObject({ young: [], kept: 4 });
    expect(blobsOf(path)).toContain(hex(shared?.digest ?? ""));
    expect(await codes(path)).toEqual([]);
    expect(resolveTag((await openLayout(path)).index, "t").digest).toBe(now.descriptor.digest);
    expect(await collectGarbage(path)).toEqual({ removed: [], young: [], kept: 4 });
    expect(readdirSync(path).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  test("dryRun says the same and removes nothing", async () => {
    const { path } = await withGarbage();
    const before = blobsOf(path);
    const said = await collectGarbage(path, { dryRun: true });
    expect(blobsOf(path)).toEqual(before);
    expect(await collectGarbage(path)).toEqual(said);
  });

  test("a blob newer than index.json stays, unless all is asked for", async () => {
    const { path, old } = await withGarbage();
    const young = join(path, blobPath(old.descriptor.digest));
    utimesSync(young, new Date(), new Date(Date.now() + 10_000));
    expect(await collectGarbage(path)).toMatchObject({ removed: [{}, {}], young: [{ digest: old.descriptor.digest }] });
    expect(await collectGarbage(path, { all: true })).toMatchObject({ removed: [{ digest: old.descriptor.digest }], young: [] });
  });

  test("what an index in the index leads to stays, and so does what is a subject", async () => {
    const { path, old, now } = await withGarbage();
    const writer = await createLayout(path);
    writer.add((await buildIndex(writer.blobs, { images: [now, old] })).descriptor, "both");
    await writer.commit();
    expect((await collectGarbage(path)).removed).toEqual([]);
    const about = { schemaVersion: 2, config: now.manifest.config, layers: [], subject: { ...old.descriptor, platform: undefined } };
    const other = await withGarbage();
    const referrer = await createLayout(other.path);
    const { platform: _, ...subject } = other.old.descriptor;
    const bytes = new TextEncoder().encode(JSON.stringify({ ...about, config: other.now.manifest.config, subject }));
    referrer.add({ mediaType: "application/vnd.oci.image.manifest.v1+json", ...(await referrer.blobs.put([bytes])) });
    await referrer.commit();
    expect((await collectGarbage(other.path)).removed).toEqual([]);
  });

  test("files that are no blobs, folders and links are left alone", async () => {
    const { path } = await withGarbage();
    const odd = ["note", "0".repeat(64), "1".repeat(64)].map((name) => join(path, "blobs/sha256", name));
    writeFileSync(odd[0] ?? "", "x");
    mkdirSync(odd[1] ?? "");
    symlinkSync(join(path, "index.json"), odd[2] ?? "");
    await collectGarbage(path, { all: true });
    for (const place of odd) expect(existsSync(place), place).toBe(true);
    expect(existsSync(join(path, "index.json"))).toBe(true);
  });

  oracle("umoci")("umoci gc finds nothing more to remove", async () => {
    const { path } = await withGarbage();
    await collectGarbage(path);
    const after = blobsOf(path);
    run("umoci", "gc", "--layout", path);
    expect(blobsOf(path)).toEqual(after);
  });
});

describe("nothing is removed", () => {
  test("of a damaged layout, or one that lists what nobody knows", async () => {
    const { path, now } = await withGarbage();
    const before = blobsOf(path);
    const index = JSON.parse(readFileSync(join(path, "index.json"), "utf8"));
    index.manifests.push({ ...now.manifest.config, mediaType: "application/vnd.example+json" });
    writeFileSync(join(path, "index.json"), JSON.stringify(index));
    await expect(collectGarbage(path)).rejects.toMatchObject({ code: "MEDIA_TYPE_MISMATCH" });
    index.manifests.pop();
    writeFileSync(join(path, "index.json"), JSON.stringify(index));
    rmSync(join(path, blobPath(now.descriptor.digest)));
    await expect(collectGarbage(path)).rejects.toMatchObject({ code: "BLOB_MISSING" });
    expect(blobsOf(path)).toHaveLength(before.length - 1);
    expect(readdirSync(path).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  test("while a writer of ours is at work; when it has ended, its blobs are known", async () => {
    const { path } = await withGarbage();
    const writer = await createLayout(path);
    const made = await imageOf(writer.blobs, [[folder(""), file("own", "late")]]);
    await expect(collectGarbage(path, { all: true })).rejects.toMatchObject({ code: "LAYOUT_BUSY", kind: "system" });
    writer.add(made.descriptor, "late");
    await writer.commit();
    await collectGarbage(path, { all: true });
    expect(await codes(path)).toEqual([]);
    const given = await createLayout(path);
    given.abort();
    expect((await collectGarbage(path)).removed).toEqual([]);
  });

  test("in a folder that is no layout", async () => {
    const path = join(scratch, "nothing");
    mkdirSync(path);
    await expect(collectGarbage(path)).rejects.toMatchObject({ code: "BAD_LAYOUT" });
    expect(readdirSync(path)).toEqual([]);
  });
});

describe("locks", () => {
  const locked = (path: string, owner: string): void => {
    mkdirSync(join(path, ".imgkit-lock"));
    writeFileSync(join(path, ".imgkit-lock/owner"), owner);
  };
  // No process has it: Linux gives no number above 2^22.
  const dead = `${hostname()} 4194999`;

  test("of a process that is gone is removed, and so is its writer's mark", async () => {
    const { path } = await withGarbage();
    locked(path, dead);
    for (const name of [".imgkit-writer-abc", ".imgkit-owner-abc"]) {
      mkdirSync(join(path, name));
      writeFileSync(join(path, name, "owner"), dead);
    }
    expect((await collectGarbage(path)).removed).toHaveLength(3);
    expect(readdirSync(path).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  test.each([`${hostname()} ${process.pid}`, "another-host 1"])("of %s are waited for, and then it is said", async (owner) => {
    const { path } = await withGarbage();
    locked(path, owner);
    await expect(collectGarbage(path, { patience: 60 })).rejects.toMatchObject({ code: "LAYOUT_BUSY", facts: { found: owner } });
    setTimeout(() => rmSync(join(path, ".imgkit-lock"), { recursive: true }), 100);
    expect((await collectGarbage(path)).removed).toHaveLength(3);
  });
});

describe("several writers at once", () => {
  test("in one process: every image is listed, in a layout that none of them found", async () => {
    const path = join(scratch, "together");
    const tags = Array.from({ length: 12 }, (_, i) => `t${i}`);
    const writers = await Promise.all(tags.map(() => createLayout(path)));
    await Promise.all(
      writers.map(async (writer, i) => {
        const made = await imageOf(writer.blobs, [[folder(""), file("own", `${i}`)]]);
        writer.add(made.descriptor, tags[i]);
        await writer.commit();
        writer.abort();
      }),
    );
    const { index, blobs } = await openLayout(path);
    expect(index.manifests.map(tagOf).sort()).toEqual([...tags].sort());
    for (const tag of tags) await loadImage(blobs, resolveTag(index, tag));
    expect(await codes(path)).toEqual([]);
    expect(readdirSync(path).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });
});
