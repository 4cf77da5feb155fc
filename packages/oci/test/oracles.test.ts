// What the field's own tools say of our layouts, and what we say of theirs.
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeEngines, openLayout } from "../src/index.node.ts";
import { addLayer, buildImage, buildIndex, type Image, loadImage, parsePlatform, resolveTag, verifyLayout } from "../src/index.ts";
import { gnuTar, imageDefaults, makeRoot, readFiles, run, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
const root = makeRoot(folder);
const tar = gnuTar(root);
let count = 0;
const fresh = (): string => join(folder, `case-${count++}`);

const settings = {
  entrypoint: ["/bin/sh", "-c"],
  cmd: ["echo"],
  env: ["A=b", "PATH=/bin"],
  workdir: "/srv",
  user: "1000:1000",
  labels: { "com.example.label": "é & <x>" },
  exposedPorts: ["80/tcp"],
  volumes: ["/data"],
  stopSignal: "SIGTERM",
};

async function ours(compression: "gzip" | "none" = "gzip", tags: readonly string[] = ["1.0"]): Promise<{ path: string; image: Image }> {
  const path = fresh();
  const writer = await createLayout(path);
  const layer = await addLayer(writer.blobs, [tar], { compression, engines: nodeEngines });
  const image = await buildImage(writer.blobs, { ...imageDefaults, layers: [layer], settings, annotations: { "org.opencontainers.image.title": "x" } });
  for (const tag of tags) writer.add(image.descriptor, tag);
  await writer.commit();
  return { path, image };
}

/** What stands in a folder: kind, mode, content or target of each path. */
function describeTree(path: string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const name of (readdirSync(path, { recursive: true }) as string[]).sort()) {
    const stat = lstatSync(join(path, name));
    const content = stat.isFile() ? readFileSync(join(path, name), "utf8") : stat.isSymbolicLink() ? readlinkSync(join(path, name)) : "";
    out[name] = `${stat.mode.toString(8)} ${stat.isDirectory() ? "" : stat.mtimeMs} ${content}`;
  }
  return out;
}

async function verified(path: string, tag?: string): Promise<void> {
  const report = await verifyLayout(directoryFiles(path), { engines: nodeEngines, ...(tag === undefined ? {} : { tag }) });
  expect(report.findings.filter((finding) => finding.level === "error")).toEqual([]);
  expect(report.verified.some((blob) => blob.kind === "layer" && blob.diffId !== undefined)).toBe(true);
}

describe("skopeo", () => {
  oracle("skopeo")("inspects our image and sees what was given", async () => {
    const { path, image } = await ours();
    const seen = JSON.parse(run("skopeo", "inspect", `oci:${path}:1.0`));
    expect(seen).toMatchObject({
      Digest: image.descriptor.digest,
      Created: "2023-11-14T22:13:20Z",
      Architecture: "amd64",
      Os: "linux",
      Env: settings.env,
      Labels: settings.labels,
    });
    const config = JSON.parse(run("skopeo", "inspect", "--config", `oci:${path}:1.0`));
    expect(config).toEqual(image.config);
  });

  oracle("skopeo")("reads the digest of our manifest's bytes as we do", async () => {
    const { path, image } = await ours();
    const raw = run("skopeo", "inspect", "--raw", `oci:${path}:1.0`);
    writeFileSync(join(folder, "raw"), raw);
    expect(run("skopeo", "manifest-digest", join(folder, "raw")).trim()).toBe(image.descriptor.digest);
  });

  for (const compression of ["gzip", "none"] as const) {
    oracle("skopeo")(`copies our image (${compression}) to a folder and back without changing a byte of a blob`, async () => {
      const { path, image } = await ours(compression);
      const [middle, back] = [fresh(), fresh()];
      run("skopeo", "copy", `oci:${path}:1.0`, `dir:${middle}`);
      run("skopeo", "copy", "--dest-oci-accept-uncompressed-layers", `dir:${middle}`, `oci:${back}:again`);
      expect(resolveTag((await openLayout(back)).index, "again").digest).toBe(image.descriptor.digest);
      const blobs = (at: string): [string, Uint8Array][] => [...readFiles(at)].filter(([name]) => name.startsWith("blobs/")).sort();
      expect(blobs(back)).toEqual(blobs(path));
      await verified(back, "again");
    });
  }

  oracle("skopeo")("adds a tag to our layout, and we one to skopeo's", async () => {
    const [a, b] = [await ours("gzip", ["one"]), await ours("none", ["two"])];
    run("skopeo", "copy", "--dest-oci-accept-uncompressed-layers", `oci:${b.path}:two`, `oci:${a.path}:localhost:5000/two:2`);
    await verified(a.path, "localhost:5000/two:2");
    const theirs = fresh();
    run("skopeo", "copy", `oci:${a.path}:one`, `oci:${theirs}:one`);
    const writer = await createLayout(theirs);
    const layer = await addLayer(writer.blobs, [new Uint8Array(1024)]);
    writer.add((await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] })).descriptor, "ours");
    await writer.commit();
    await verified(theirs, "ours");
    expect(JSON.parse(run("skopeo", "inspect", `oci:${theirs}:one`)).Digest).toBe(a.image.descriptor.digest);
    run("skopeo", "inspect", `oci:${theirs}:ours`);
  });

  oracle("skopeo")("chooses from our index by platform", async () => {
    const path = fresh();
    const writer = await createLayout(path);
    const layer = await addLayer(writer.blobs, [tar]);
    const images = [];
    for (const platform of ["linux/amd64", "linux/arm64/v8"].map(parsePlatform))
      images.push(await buildImage(writer.blobs, { ...imageDefaults, platform, layers: [layer] }));
    writer.add((await buildIndex(writer.blobs, { images })).descriptor, "multi");
    await writer.commit();
    for (const [architecture, image] of [
      ["amd64", images[0]],
      ["arm64", images[1]],
    ] as const) {
      const config = JSON.parse(run("skopeo", `--override-arch=${architecture}`, "inspect", "--config", `oci:${path}:multi`));
      expect(config).toMatchObject(image?.config ?? {});
    }
    const copy = fresh();
    run("skopeo", "copy", "--all", `oci:${path}:multi`, `oci:${copy}:multi`);
    await verified(copy, "multi");
  });

  oracle("skopeo")("splits a reference with colons where we do", async () => {
    const { path } = await ours("gzip", ["a:b/c"]);
    run("skopeo", "inspect", `oci:${path}:a:b/c`);
    expect((await loadImage((await openLayout(path)).blobs, resolveTag((await openLayout(path)).index, "a:b/c"))).config.os).toBe("linux");
  });
});

describe("umoci", () => {
  const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];

  for (const compression of ["gzip", "none"] as const) {
    oracle("umoci")(`unpacks our image (${compression}) to the tree that the tar was made of`, async () => {
      const { path } = await ours(compression);
      const bundle = fresh();
      run("umoci", "unpack", ...rootless, "--image", `${path}:1.0`, bundle);
      const expected = fresh();
      mkdirSync(expected);
      writeFileSync(`${expected}.tar`, tar);
      run("tar", "-xpf", `${expected}.tar`, "-C", expected);
      expect(describeTree(join(bundle, "rootfs"))).toEqual(describeTree(expected));
      expect(JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")).process.cwd).toBe("/srv");
    });
  }

  oracle("umoci")("lists our tags", async () => {
    const { path } = await ours("gzip", ["a", "b"]);
    expect(run("umoci", "list", "--layout", path).trim().split("\n").sort()).toEqual(["a", "b"]);
  });

  oracle("umoci")("init, new, insert and repack: what umoci makes is read and verified", async () => {
    const path = fresh();
    run("umoci", "init", "--layout", path);
    run("umoci", "new", "--image", `${path}:t`);
    run("umoci", "insert", ...rootless, "--image", `${path}:t`, join(root, "etc"), "/etc");
    const bundle = fresh();
    run("umoci", "unpack", ...rootless, "--image", `${path}:t`, bundle);
    writeFileSync(join(bundle, "rootfs", "new"), "x");
    run("umoci", "repack", "--image", `${path}:t`, bundle);
    await verified(path, "t");
    const { blobs, index } = await openLayout(path);
    expect((await loadImage(blobs, resolveTag(index, "t"))).manifest.layers).toHaveLength(2);
  });

  oracle("umoci")("repacks an image of ours on top of our layer, which stays to the byte", async () => {
    const { path, image } = await ours();
    const bundle = fresh();
    run("umoci", "unpack", ...rootless, "--image", `${path}:1.0`, bundle);
    writeFileSync(join(bundle, "rootfs", "new"), "x");
    run("umoci", "repack", "--image", `${path}:2.0`, bundle);
    await verified(path, "2.0");
    const { blobs, index } = await openLayout(path);
    expect((await loadImage(blobs, resolveTag(index, "2.0"))).manifest.layers[0]?.digest).toBe(image.manifest.layers[0]?.digest);
  });
});
