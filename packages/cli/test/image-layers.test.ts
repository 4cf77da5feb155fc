// imgkit image on a base, as a difference, split into layers; imgkit gc.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { gzipSync } from "node:zlib";
import { collect } from "@imgkit/bytes";
import { type ObjectEntry, treeFromObject, writeTar } from "@imgkit/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { startDockerRegistry } from "../../oci/test/registry/servers.ts";
import { epoch, expectFailure, finished, here, imgkit, json, Scratch, start } from "./cli.ts";

const scratch = new Scratch("image-layers");
afterAll(() => scratch.remove());
let count = 0;
const fresh = (name = "layout"): string => scratch.at(`${name}-${count++}`);

const below = { "etc/os": "test\n", "etc/old": "old\n", "usr/lib/a": "a", lib: { symlink: "usr/lib" } };
const over = { "opt/app": { content: "#!/bin/sh\n", mode: 0o755 } };

let base: string;
let app: string;

async function tarOf(entries: Readonly<Record<string, ObjectEntry>>): Promise<string> {
  return scratch.write(`${count++}.tar`, await collect(writeTar(treeFromObject(entries), { epoch: 0 })));
}
// biome-ignore lint/suspicious/noExplicitAny: a test reads what the command printed, whatever that is
const image = async (args: readonly string[]): Promise<any> => json(await here(["image", ...args, ...epoch, "--json"]));
// biome-ignore lint/suspicious/noExplicitAny: as above
const blob = (layout: string, digest: string): any => JSON.parse(fs.readFileSync(`${layout}/blobs/sha256/${digest.slice(7)}`, "utf8"));
const same = async (a: string, b: string): Promise<void> => expect(await here(["diff", a, b])).toMatchObject({ code: 0, stderr: "" });

beforeAll(async () => {
  base = fresh("base");
  app = await tarOf(over);
  await image([
    await tarOf(below),
    "-o",
    base,
    "--platform",
    "linux/arm64",
    "--env",
    "A=1",
    "--env",
    "B=2",
    "--cmd",
    "sh",
    "--label",
    "x=y",
    "--compression",
    "none",
  ]);
});

describe("--base", () => {
  test("the base's layer stays, its config is inherited, its platform holds, its manifest is named", async () => {
    const layout = fresh();
    const made = await image([app, "-o", layout, "--base", `oci:${base}`, "--env", "B=new", "--entrypoint", "/opt/app", "--annotation", "a=b"]);
    const [under, own] = made.layers;
    expect(under).toMatchObject({ base: true, mediaType: "application/vnd.oci.image.layer.v1.tar" });
    expect(fs.readFileSync(`${layout}/blobs/sha256/${under.digest.slice(7)}`).equals(fs.readFileSync(`${base}/blobs/sha256/${under.digest.slice(7)}`))).toBe(
      true,
    );
    expect(own).toMatchObject({ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", tarSize: expect.any(Number) });
    expect(made.platform).toEqual({ os: "linux", architecture: "arm64" });
    const manifest = blob(layout, made.output.digest);
    const baseDigest = JSON.parse(fs.readFileSync(`${base}/index.json`, "utf8")).manifests[0].digest;
    expect(manifest.annotations).toEqual({
      a: "b",
      "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
      "org.opencontainers.image.base.digest": baseDigest,
    });
    const { config, history } = blob(layout, manifest.config.digest);
    expect(config).toEqual({ Env: ["A=1", "B=new"], Entrypoint: ["/opt/app"], Labels: { x: "y" } });
    expect(history).toHaveLength(2);
    await same(`oci:${layout}`, await tarOf({ ...below, ...over }));
    expect((await here(["verify", `oci:${layout}`])).code).toBe(0);
  });

  test.each(["oci-archive", "docker-archive"])("from an %s: the same layers", async (transport) => {
    const file = scratch.at(`${transport}.tar`);
    expect((await here(["copy", `oci:${base}`, `${transport}:${file}:app:1`])).stderr).toBe("");
    const [one, two] = [await image([app, "-o", fresh(), "--base", base]), await image([app, "-o", fresh(), "--base", `${transport}:${file}`])];
    const digests = (made: { layers: { digest: string }[] }): string[] => made.layers.map(({ digest }) => digest);
    expect(digests(two)).toEqual(digests(one));
    expect(two.platform).toEqual({ os: "linux", architecture: "arm64" });
  });

  test("from an archive that is packed as a whole, as docker save | gzip makes it", async () => {
    const file = scratch.at("packed.tar");
    await here(["copy", `oci:${base}`, `docker-archive:${file}:app:1`]);
    fs.writeFileSync(`${file}.gz`, gzipSync(fs.readFileSync(file)));
    const [one, two] = [
      await image([app, "-o", fresh(), "--base", `docker-archive:${file}`]),
      await image([app, "-o", fresh(), "--base", `docker-archive:${file}.gz:app:1`]),
    ];
    expect(two.output.digest).toBe(one.output.digest);
    expect((await here(["verify", `docker-archive:${file}.gz`])).code).toBe(0);
  });

  oracle("docker-registry")("from a registry: the same image as from the layout that was pushed there", async () => {
    const registry = await startDockerRegistry(scratch.folder("registry"));
    expect((await here(["push", base, `${registry.host}/base:1`])).code).toBe(0);
    const [one, two] = [await image([app, "-o", fresh(), "--base", base]), await image([app, "-o", fresh(), "--base", `docker://${registry.host}/base:1`])];
    expect(two.output.digest).toBe(one.output.digest);
    expect(two.platform).toEqual({ os: "linux", architecture: "arm64" });
  });

  test("into the base's own layout, and with a record that says of which base", async () => {
    const layout = fresh();
    fs.cpSync(base, layout, { recursive: true });
    const record = fresh("record");
    await image([app, "-o", `${layout}:app`, "--base", `${layout}:latest`, "--record", record]);
    const { inputs } = JSON.parse(fs.readFileSync(record, "utf8"));
    expect(inputs.map(({ name, kind }: { name: string; kind: string }) => [name, kind])).toEqual([
      [`${layout}:latest`, "manifest"],
      [app, "file"],
    ]);
  });

  test("for another platform than is asked for, or none at all: exit code 2 and nothing written", async () => {
    const layout = fresh();
    expectFailure(await here(["image", app, "-o", layout, "--base", base, "--platform", "linux/amd64", ...epoch]), 2, /for another platform.*linux\/arm64/);
    expectFailure(await here(["image", app, "-o", layout, "--base", scratch.at("nothing"), ...epoch]), 2, /nothing/);
    expect(fs.existsSync(layout)).toBe(false);
  });
});

describe("--difference", () => {
  test("one layer of what the source has differently: the image is the source", async () => {
    const { "etc/old": _, ...rest } = below;
    const source = await tarOf({ ...rest, "etc/os": "changed\n", "usr/lib/b": "b", lib: { directory: true } });
    const layout = fresh();
    const made = await image([source, "-o", layout, "--base", base, "--difference", "--compression", "none"]);
    await same(`oci:${layout}`, source);
    const tar = execFileSync("tar", ["-tf", `${layout}/blobs/sha256/${made.layers[1].digest.slice(7)}`], { encoding: "utf8" });
    expect(tar.trim().split("\n")).toEqual(["./", "./etc/", "./etc/.wh.old", "./etc/os", "./lib/", "./usr/", "./usr/lib/", "./usr/lib/b"]);
  });

  test("without a base, of two sources, or split: wrong usage", async () => {
    expectFailure(await here(["image", app, "-o", fresh(), "--difference", ...epoch]), 2, /needs an image to differ from.*--base/);
    expectFailure(await here(["image", app, app, "-o", fresh(), "--base", base, "--difference", ...epoch]), 2, /one layer of one source/);
    expectFailure(await here(["image", app, "-o", fresh(), "--base", base, "--difference", "--split", "apk", ...epoch]), 2, /one layer of one source/);
  });

  oracleRoot("umoci")("umoci unpacks base and difference to the source", async () => {
    const { "etc/old": _, ...rest } = below;
    const source = await tarOf({ "": { mode: 0o755 }, ...rest, "etc/os": "changed\n" });
    const layout = fresh();
    await image([source, "-o", `${layout}:t`, "--base", base, "--difference"]);
    execFileSync("umoci", ["unpack", "--image", `${layout}:t`, `${layout}-bundle`], { stdio: "ignore" });
    await same(`${layout}-bundle/rootfs`, source);
  });
});

describe("--split", () => {
  const installed = (two: string): string => `P:one\nV:1\nF:usr\nR:one\n\nP:two\nV:${two}\nF:usr\nR:two\n\n`;
  const alpine = (two: string, more = {}) => tarOf({ "usr/one": "1".repeat(900), "usr/two": two, "lib/apk/db/installed": installed(two), other: "o", ...more });
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const digestsOf = (made: any): string[] => made.layers.map((layer: { digest: string }) => layer.digest);

  test("apk: a layer for each package and one for the rest; history and report say which", async () => {
    const layout = fresh();
    const source = await alpine("2");
    const made = await image([source, "-o", layout, "--split", "apk"]);
    expect(made.layers.map((layer: { names?: string[] }) => layer.names)).toEqual([["one"], ["two"], undefined]);
    const { history } = blob(layout, blob(layout, made.output.digest).config.digest);
    expect(history.map((entry: { comment?: string }) => entry.comment)).toEqual(["one", "two", undefined]);
    await same(`oci:${layout}`, source);
    const lines = (await here(["image", source, "-o", fresh(), "--split", "apk", ...epoch])).stdout.toString().trim().split("\n");
    expect(lines.slice(1).map((line) => line.slice(line.lastIndexOf(" ") + 1))).toEqual(["one", "two", expect.stringMatching(/^sha256:/)]);
  });

  test("another version of one package, built at another time: its layer and the last one change", async () => {
    const one = await image([await alpine("2"), "-o", fresh(), "--split", "apk"]);
    const two = json(await here(["image", await alpine("3"), "-o", fresh(), "--split", "apk", "--epoch", "1800000000", "--json"]));
    expect(digestsOf(two).map((digest, i) => digest === digestsOf(one)[i])).toEqual([true, false, false]);
  });

  test("size: parts of so many bytes; --max-layers: so many parts", async () => {
    const source = await tarOf(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`d${i}/f`, "x".repeat(1000)])));
    const made = await image([source, "-o", fresh(), "--split", "size=4K"]);
    expect(made.layers.length).toBeGreaterThan(8);
    const layout = fresh();
    expect((await image([await alpine("2"), "-o", layout, "--split", "apk", "--max-layers", "2"])).layers).toHaveLength(2);
  });

  test("a tree without packages, a size that is none, a number for nothing: exit code 2", async () => {
    expectFailure(await here(["image", app, "-o", fresh(), "--split", "debian", ...epoch]), 2, /no packages of dpkg/);
    expectFailure(await here(["image", app, "-o", fresh(), "--split", "size=0", ...epoch]), 2, /Expected debian, apk or size=BYTES/);
    expectFailure(await here(["image", app, "-o", fresh(), "--max-layers", "3", ...epoch]), 2, /--max-layers is of --split/);
  });

  test("more layers than engines take: a warning", async () => {
    const source = await tarOf(Object.fromEntries(Array.from({ length: 130 }, (_, i) => [`d${i}/f`, "x".repeat(1000)])));
    const { stderr } = await here(["image", source, "-o", fresh(), "--split", "size=1000", ...epoch]);
    expect(stderr).toMatch(/warning: the image has 131 layers: container engines take 127 at most/);
  });
});

test("--index: images of several platforms under one tag, each chosen by --platform", async () => {
  const layout = fresh();
  const other = await tarOf({ arm: "arm" });
  await image([app, "-o", layout, "--tag", "multi", "--platform", "linux/amd64"]);
  await image([other, "-o", layout, "--tag", "multi", "--platform", "linux/arm64", "--index"]);
  const ls = async (platform: string): Promise<string> => (await here(["ls", `oci:${layout}:multi`, "--platform", platform])).stdout.toString();
  expect([await ls("linux/amd64"), await ls("linux/arm64")]).toEqual(["/opt\n", "/arm\n"]);
  expectFailure(await here(["ls", `oci:${layout}:multi`]), 2, /several platforms/);
});

test("a source with names that are whiteouts: a warning, and they take away what a lower layer has", async () => {
  const layout = fresh();
  const { stderr } = await here(["image", await tarOf({ a: "a", b: "b" }), await tarOf({ ".wh.a": "" }), "-o", layout, ...epoch]);
  expect(stderr).toBe("imgkit: warning: /.wh.a: a name that begins with .wh. takes something of a lower layer away, and is no file\n");
  expect((await here(["ls", layout])).stdout.toString()).toBe("/b\n");
});

describe("gc", () => {
  const withGarbage = async (): Promise<string> => {
    const layout = fresh();
    await image([app, "-o", layout]);
    await image([await tarOf({ other: "x" }), "-o", layout]);
    return layout;
  };

  test("says what it would remove, removes it, and then finds nothing", async () => {
    const layout = await withGarbage();
    const said = json(await here(["gc", layout, "--dry-run", "--json"]));
    expect(said).toMatchObject({ command: "gc", target: layout, dryRun: true, young: [], kept: 3 });
    expect(said.removed).toHaveLength(3);
    const { stdout } = await here(["gc", `oci:${layout}`]);
    expect(stdout.toString()).toMatch(/^(sha256:[0-9a-f]{64} \(\d+ bytes\)\n){3}removed 3 blobs, \d+ bytes; 3 are in use\n$/);
    expect(json(await here(["gc", layout, "--json"]))).toMatchObject({ removed: [], bytes: 0 });
    expect(json(await here(["verify", `oci:${layout}`, "--json"])).findings).toEqual([]);
  });

  test("a folder that is no layout, and a layout that another process holds", async () => {
    expectFailure(await here(["gc", scratch.folder("no-layout")]), 2, /not an OCI layout/);
    const layout = await withGarbage();
    fs.mkdirSync(`${layout}/.imgkit-writer-x`);
    fs.writeFileSync(`${layout}/.imgkit-writer-x/owner`, "another-host 1\n");
    expectFailure(await here(["gc", layout]), 3, /another process is adding images/);
  });

  test("images written by several processes while others collect garbage: none is lost", { timeout: 120_000 }, async () => {
    const layout = fresh();
    const sources = await Promise.all(Array.from({ length: 4 }, (_, i) => tarOf({ [`file${i}`]: "x".repeat(100 * i) })));
    const writers = sources.map((source, i) => imgkit(["image", source, "-o", layout, "--tag", `t${i}`, ...epoch, "-q"]));
    const collectors = [0, 1].map(async () => {
      for (let i = 0; i < 2; i++) await imgkit(["gc", layout, "--all", "-q"]);
    });
    for (const result of await Promise.all(writers)) expect(result).toMatchObject({ code: 0, stderr: "" });
    await Promise.all(collectors);
    const { manifests } = JSON.parse(fs.readFileSync(`${layout}/index.json`, "utf8"));
    expect(manifests).toHaveLength(4);
    expect(json(await here(["verify", `oci:${layout}`, "--json"])).findings).toEqual([]);
  });

  test.each(["SIGTERM", "SIGKILL"] as const)("a writer that %s ends in its middle does not keep garbage from being collected", async (signal) => {
    const layout = await withGarbage();
    const tree = scratch.folder("large");
    fs.truncateSync(scratch.write("large/holes", "x"), 2 ** 31);
    const child = start(["image", tree, "-o", layout, "--tag", "stopped", ...epoch]);
    const end = finished(child);
    const marks = (): string[] => fs.readdirSync(layout).filter((name) => name.startsWith("."));
    for (let i = 0; i < 1000 && !marks().some((name) => name.startsWith(".blob")); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(marks()).toContainEqual(expect.stringMatching(/^\.imgkit-writer-/));
    child.kill(signal);
    await end;
    if (signal === "SIGTERM") expect(marks()).toEqual([]);
    expect(json(await here(["gc", layout, "--json"])).removed).toHaveLength(3);
    expect(marks().filter((name) => name.includes("writer"))).toEqual([]);
  });

  oracle("skopeo")("what stays is what skopeo copies", async () => {
    const layout = await withGarbage();
    await here(["gc", layout, "-q"]);
    execFileSync("skopeo", ["copy", `oci:${layout}:latest`, `oci:${layout}-copy:latest`], { stdio: "ignore" });
    expect(fs.readdirSync(`${layout}-copy/blobs/sha256`).sort()).toEqual(fs.readdirSync(`${layout}/blobs/sha256`).sort());
  });
});
