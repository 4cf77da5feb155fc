import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import { afterAll, expect, test } from "vitest";
import { realData, withRealData } from "../../../test/apk-data.ts";
import { folderFetcher, nodeGunzip, nodeRsa } from "../src/index.node.ts";
import { buildApko, type Fetcher, lockApko, parseApkoConfig, writeApkoTar } from "../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-apko-base-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A package in the database of apko's own base image (internal/cli/testdata/base_image/metadata), as far as anything comes of it. */
function entry(name: string, architecture: string, size: string, checksum: string, files: string): string {
  const depends = name === "package-x" ? "pretend-baselayout" : "";
  const description = name === "package-x" ? "package x" : "replacement baselayout";
  const head = `P:${name}\nV:1.0.0-r0\nA:${architecture}\nL:MIT\nT:${description}\no:${name}\nm:\nU:\nD:${depends}\np:\nc:\ni:[]\nt:0\n${size}\nk:0\nC:${checksum}\n`;
  return `${head}${files}F:var\nM:501:20:0755\nF:var/lib\nF:var/lib/db\nF:var/lib/db/sbom\nR:${name}-1.0.0-r0.spdx.json\na:501:20:0644\nZ:Q1Y2MFMS5BTeVjVOoqQntuo+V9Y7M=\n${name === "package-x" ? "F:x\nR:hello.txt\n" : ""}\n`;
}

/** Without its last package: apko drops the last one of a file that does not end with an empty line, as this one does not. */
const database: Readonly<Record<string, string>> = {
  x86_64:
    entry("pretend-baselayout", "x86_64", "S:2330\nI:2899", "Q1cs+Hlyu5sY+1mmwKPedcRWj8E24=", "F:etc\nM:501:20:0755\nR:os-release\n") +
    entry("package-x", "x86_64", "S:2274\nI:2745", "Q1Vl3vU8cV22CofaOpqDJHyDPEzH8=", ""),
  aarch64:
    entry("pretend-baselayout", "aarch64", "S:2328\nI:2900", "Q1IhHX8PA1MiPcnOa5ig/Wjr/qhbU=", "F:etc\nM:501:20:0755\nR:os-release\n") +
    entry("package-x", "aarch64", "S:2261\nI:2746", "Q19EfeYO8EvkWtw2p6+d3RYHK8DMU=", ""),
};

const config = () =>
  parseApkoConfig(
    {
      contents: {
        baseimage: { image: "./testdata/base_image/", apkindex: "./testdata/base_image/metadata/" },
        keyring: ["./testdata/melange.rsa.pub"],
        repositories: ["./testdata/packages"],
        packages: ["replayout"],
      },
      archs: ["x86_64", "aarch64"],
    },
    "image_on_top.apko.yaml",
  );

/** The real data, and the database beside it, which is not among them. */
function fetcher(): Fetcher {
  for (const [architecture, text] of Object.entries(database)) {
    mkdirSync(join(folder, architecture), { recursive: true });
    writeFileSync(join(folder, architecture, "APKINDEX"), text);
  }
  const [real, own] = [folderFetcher(realData), folderFetcher(folder)];
  return { open: (place, name, options) => (place.includes("base_image") ? own.open(".", name, options) : real.open(place, name, options)) };
}

const options = () => ({
  fetcher: fetcher(),
  rsa: nodeRsa,
  gunzip: nodeGunzip,
  epoch: 0,
  spool: async (stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) => ({ ...memorySource(await collect(stream)), close: () => undefined }),
});

withRealData("the layers that apko's own test puts on a base image have apko's own digests, resolved and from a lock", async () => {
  const lock = await lockApko(config(), { ...options(), file: { name: "testdata/image_on_top.apko.yaml", bytes: new Uint8Array() } });
  expect(lock.contents.packages.map(({ name, architecture }) => `${name} ${architecture}`)).toEqual(["replayout x86_64", "replayout aarch64"]);
  for (const [architecture, diffId] of [
    ["x86_64", "79551ed211a0ca334ac3206473ff5f46a095fb4baf5ee4d13b804d8acca517bf"],
    ["aarch64", "833080c5930b626e29628105bd42d7390dfdbc753f761d111d3ac92256bae9c3"],
  ] as const) {
    for (const more of [{}, { lock }]) {
      const built = await buildApko(config(), { ...options(), architecture, ...more });
      const digest = createHash("sha256");
      for await (const chunk of writeApkoTar(built.tree)) digest.update(chunk);
      expect(digest.digest("hex")).toBe(diffId);
      built.close();
    }
  }
});

test.each([
  ["a line that is no field", "P:a\nnonsense\n", /APKINDEX:2: not a field/],
  ["a package without a checksum", "P:a\nV:1\nA:x86_64\n\n", /not the checksum of a package/],
  ["a package for another machine", entry("a", "riscv64", "S:1", "Q1cs+Hlyu5sY+1mmwKPedcRWj8E24=", ""), /for another architecture.*found riscv64/],
  ["a name that is a path", entry("../a", "x86_64", "S:1", "Q1cs+Hlyu5sY+1mmwKPedcRWj8E24=", ""), /not a package's name/],
])("a database with %s is refused with its place", async (_, text, cause) => {
  mkdirSync(join(folder, "bad/x86_64"), { recursive: true });
  writeFileSync(join(folder, "bad/x86_64/APKINDEX"), text);
  const bad = parseApkoConfig({ contents: { baseimage: { image: "x", apkindex: "bad" } }, archs: ["x86_64"] }, "bad.yaml");
  await expect(buildApko(bad, { ...options(), fetcher: folderFetcher(folder), architecture: "x86_64" })).rejects.toThrow(cause);
});

test("a base whose /lib is a link to /usr/lib keeps it: the layer has the link, and no folder over it", async () => {
  mkdirSync(join(folder, "merged/x86_64"), { recursive: true });
  const below = entry("package-x", "x86_64", "S:1\nI:1", "Q1cs+Hlyu5sY+1mmwKPedcRWj8E24=", "").replace("D:pretend-baselayout", "D:");
  const lib = async (text: string) => {
    writeFileSync(join(folder, "merged/x86_64/APKINDEX"), text);
    const on = parseApkoConfig({ contents: { baseimage: { image: "x", apkindex: "merged" } }, archs: ["x86_64"] }, "merged.yaml");
    const built = await buildApko(on, { ...options(), fetcher: folderFetcher(folder), architecture: "x86_64" });
    built.close();
    return [built.tree.get("lib"), built.tree.get("lib/apk")];
  };
  expect(await lib(below.replace("p:\n", "p:merged-lib\n"))).toMatchObject([{ type: "symlink", target: "usr/lib" }, undefined]);
  expect(await lib(below)).toMatchObject([{ type: "directory" }, { type: "symlink", target: "../usr/lib/apk" }]);
});
