import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { buildApko, parseApkoConfig } from "@imgkit/apk";
import { folderFetcher, nodeGunzip, nodeRsa } from "@imgkit/apk/node";
import { collect, memorySource } from "@imgkit/bytes";
import { compareTrees, formatDifference, readTarEntries, writeGoTar } from "@imgkit/core";
import { applyLayers } from "@imgkit/oci";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { realData, withRealData } from "../../../test/apk-data.ts";
import { oracle } from "../../../test/oracle.ts";
import { entry, indexFile, makeApk, makeSigner, type Signer, signed } from "../../apk/test/support.ts";
import { epoch, expectFailure, here, imgkit, json, type Result, Scratch } from "./cli.ts";

const scratch = new Scratch("apko-image");
afterAll(() => scratch.remove());

let signer: Signer;
const machines = ["x86_64", "aarch64", "armv7"];

interface Package {
  readonly name: string;
  readonly origin: string;
  readonly size: number;
  readonly files: Readonly<Record<string, string>>;
  readonly replaces?: readonly string[];
}

/** A signed repository for some architectures; what a package has for each of them differs. */
function repository(folder: string, packages: readonly Package[], archs: readonly string[] = machines): void {
  for (const architecture of archs) {
    scratch.folder(`${folder}/${architecture}`);
    const entries = packages.map(({ name, origin, size, files, replaces = [] }) => {
      const { bytes, checksum } = makeApk({
        name,
        signer,
        files: { ...files, [`${name}.arch`]: architecture },
        time: 1_600_000_000 + size,
        change: (text) =>
          `${text
            .replace(/depend = .*\n/g, "")
            .replace("arch = x86_64", `arch = ${architecture}`)
            .replace("size = 10", `size = ${size}`)}origin = ${origin}\n${replaces.map((one) => `replaces = ${one}\n`).join("")}`,
      });
      fs.writeFileSync(scratch.at(`${folder}/${architecture}`, `${name}-1.0-r0.apk`), bytes);
      return entry({ name, architecture, checksum });
    });
    fs.writeFileSync(scratch.at(`${folder}/${architecture}/APKINDEX.tar.gz`), signed(indexFile(entries), signer));
  }
}

/** What `image` says of the image for all machines, all:v1. */
let whole: Result;

beforeAll(async () => {
  signer = makeSigner("test.rsa.pub");
  scratch.write("test.rsa.pub", signer.pem);
  repository("repo", [
    {
      name: "base",
      origin: "base",
      size: 300,
      files: { "etc/": "", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "usr/": "", "usr/bin/": "", "usr/bin/sh": "sh" },
    },
    { name: "lib", origin: "lib", size: 200, files: { "usr/": "", "usr/lib/": "", "usr/lib/lib.so": "lib" } },
    { name: "app", origin: "app", size: 100, files: { "usr/": "", "usr/bin/": "", "usr/bin/app": "app" } },
  ]);
  scratch.folder("extra");
  scratch.write("extra/motd", "hello");
  write("image.yaml");
  write("layered.yaml", "layering: {strategy: origin, budget: 2}\n");
  whole = await here(["image", spec("image.yaml"), ...epoch, "-o", oci("all:v1"), "--annotation", "more=1", "--json"]);
});

/** A configuration beside the repository, with absolute paths: tests run where they like. */
function write(name: string, more = ""): void {
  const contents = `contents:\n  keyring: [${scratch.at("test.rsa.pub")}]\n  repositories: [${scratch.at("repo")}]\n  packages: [app, lib, base]\n`;
  scratch.write(
    name,
    `${contents}archs: [armv7, x86_64, aarch64]\nentrypoint: {command: /usr/bin/app}\nannotations: {who: me}\nvcs-url: https://example.invalid/x@abc\n${more}`,
  );
}

const spec = (name: string): string => `apko:${scratch.at(name)}`;
const oci = (name: string): string => scratch.at(name);
const blob = (layout: string, digest: string) => JSON.parse(fs.readFileSync(oci(`${layout}/blobs/${digest.replace(":", "/")}`), "utf8"));
const digestOf = (stdout: Buffer): string => stdout.toString().split(" ")[0] ?? "";

describe("several architectures", () => {
  test("are one index: in the order of their names, with the configuration's annotations; each image is the one that is made alone", async () => {
    const made = json(whole);
    expect(made.images.map(({ platform }: { platform: object }) => platform)).toEqual([
      { architecture: "amd64", os: "linux" },
      { architecture: "arm", os: "linux", variant: "v7" },
      { architecture: "arm64", os: "linux" },
    ]);
    const index = blob("all", made.output.digest);
    expect(index.annotations).toEqual({
      more: "1",
      "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
      "org.opencontainers.image.revision": "abc",
      "org.opencontainers.image.source": "https://example.invalid/x",
      who: "me",
    });
    expect(index.manifests.map(({ digest }: { digest: string }) => digest)).toEqual(made.images.map(({ digest }: { digest: string }) => digest));
    for (const [arch, platform] of [
      ["x86_64", "linux/amd64"],
      ["aarch64", "linux/arm64"],
      ["armv7", "linux/arm/v7"],
    ] as const) {
      const by = async (...options: string[]) =>
        digestOf((await here(["image", spec("image.yaml"), ...epoch, "-o", oci("alone"), "--annotation", "more=1", ...options])).stdout);
      const alone = await by("--arch", arch);
      expect(await by("--platform", platform)).toBe(alone);
      expect(index.manifests.map(({ digest }: { digest: string }) => digest)).toContain(alone);
      expect((await here(["cat", oci("all:v1"), "lib.arch", "--platform", platform])).stdout.toString()).toBe(arch);
    }
    expect(await here(["verify", oci("all:v1")])).toMatchObject({ code: 0 });
  });

  test("--arch names some; a record makes the index again, and lists the configuration once; other sources are in each image", async () => {
    const options = ["--arch", "aarch64", "--arch", "amd64", "--arch", "x86_64", "--record", scratch.at("all.json")];
    const made = await here(["image", spec("image.yaml"), scratch.at("extra"), ...epoch, "-o", oci("some"), ...options]);
    expect(made).toMatchObject({ code: 0 });
    expect(made.stdout.toString()).toMatch(
      /^sha256:\S+ {2}oci:\S+:latest\n {2}linux\/amd64 sha256:\S+\n( {4}layer .*\n){2} {2}linux\/arm64 sha256:\S+\n( {4}layer .*\n){2}$/,
    );
    const { inputs, outputs } = JSON.parse(fs.readFileSync(scratch.at("all.json"), "utf8"));
    expect(inputs.map(({ name }: { name: string }) => name)).toEqual([spec("image.yaml"), scratch.at("extra")]);
    expect(outputs[0].digest).toBe(digestOf(made.stdout));
    expect(await here(["verify", oci("some"), "--from", scratch.at("all.json")])).toMatchObject({ code: 0 });
    expect((await here(["cat", oci("some"), "motd", "--platform", "linux/arm64"])).stdout.toString()).toBe("hello");
  });

  test("on a base for the same machines, each has the base's own layers below", async () => {
    expect(await here(["image", spec("image.yaml"), ...epoch, "-o", oci("under")])).toMatchObject({ code: 0 });
    scratch.folder("top");
    scratch.write("top/x", "x");
    const made = json(
      await here(["image", spec("image.yaml"), "--base", oci("under"), ...epoch, "-o", oci("over"), "--arch", "amd64", "--arch", "arm64", "--json"]),
    );
    const below = json(await here(["inspect", oci("under"), "--platform", "linux/arm64", "--json"])).image.layers[0].digest;
    expect(made.images[1].layers[0]).toMatchObject({ digest: below, base: true });
  });

  test("what is one tree, or can be read once, or says two things is refused", async () => {
    expectFailure(
      await here(["rootfs", spec("image.yaml"), ...epoch, "-o", scratch.at("x.tar")]),
      2,
      /several architectures.*--arch ARCH.*found arm\/v7, amd64, arm64/,
    );
    expectFailure(await here(["image", spec("image.yaml"), "-", ...epoch, "-o", oci("x")]), 2, /standard input is read once/);
    expectFailure(await here(["image", spec("image.yaml"), ...epoch, "-o", oci("x"), "--index"]), 2, /an index of their own/);
    expectFailure(
      await here(["image", spec("image.yaml"), ...epoch, "-o", oci("x"), "--arch", "amd64", "--platform", "linux/arm64"]),
      2,
      /name different machines \(expected arm64, found amd64\)/,
    );
    expectFailure(await here(["image", scratch.at("extra"), ...epoch, "-o", oci("x"), "--arch", "amd64"]), 2, /--arch is of an apko: source/);
    expectFailure(
      await here(["image", spec("image.yaml"), ...epoch, "-o", oci("x"), "--arch", "amd64", "--arch", "riscv64"]),
      2,
      /does not have.*found riscv64/,
    );
    expect(fs.existsSync(oci("x"))).toBe(false);
  });

  test("a build file makes the index that the command makes; with a tar or disk it names the machine", async () => {
    const head = `imgkit: build/1\nsource: ${spec("image.yaml")}\nepoch: 1700000000\n`;
    const only = (more: string) => here(["build", scratch.write("all.build.yaml", `${head}${more}`), "--json"]);
    const index = json(await only("image: {annotations: {more: '1'}}\noutputs: {oci: built-all, record: built-all.json}\n"));
    expect(index.outputs.oci.output.digest).toBe(JSON.parse(fs.readFileSync(oci("all/index.json"), "utf8")).manifests[0].digest);
    expect(JSON.parse(fs.readFileSync(scratch.at("built-all.json"), "utf8")).inputs.map(({ name }: { name: string }) => name)).toEqual([
      scratch.at("all.build.yaml"),
      spec("image.yaml"),
    ]);
    const one = json(await only("arch: aarch64\nimage: {platform: linux/arm64, cmd: [--help]}\noutputs: {oci: built-one, tar: built-one.tar}\n"));
    const { image } = json(await here(["inspect", oci("built-one"), "--json"]));
    // What the configuration says of the image is in it, and what the build file says too.
    expect(image).toMatchObject({ platform: "linux/arm64", annotations: { who: "me" }, settings: { Entrypoint: ["/usr/bin/app"], Cmd: ["--help"] } });
    expect(image.layers.map(({ diffId }: { diffId: string }) => diffId)).toEqual([one.outputs.tar.output.digest]);
    expectFailure(await only("outputs: {tar: x.tar, oci: x}\n"), 2, /several architectures/);
  });

  oracle("skopeo")("skopeo copies the index with all its images", () => {
    execFileSync("skopeo", ["copy", "--all", "--preserve-digests", `oci:${oci("all:v1")}`, `oci:${oci("copied:v1")}`], { stdio: "ignore" });
    const [tag] = JSON.parse(fs.readFileSync(oci("copied/index.json"), "utf8")).manifests;
    expect(blob("copied", tag.digest).manifests).toHaveLength(3);
  });
});

describe("layering", () => {
  const build = (name: string, ...options: string[]) =>
    here(["image", spec(name), ...epoch, "-o", oci(`${name}-oci`), "--platform", "linux/amd64", ...options]);

  test("a layer for each group of packages and one for the rest: together the tree without layering", async () => {
    for (const form of ["tar/1", "apko"]) {
      const made = json(await build("layered.yaml", "--tar-form", form, "--json"));
      expect(made.layers.map(({ names }: { names?: readonly string[] }) => names)).toEqual([["base"], ["app", "lib"], undefined]);
      const { history } = blob("layered.yaml-oci", blob("layered.yaml-oci", made.output.digest).config.digest);
      expect(history.map(({ comment }: { comment?: string }) => comment)).toEqual(["base", "app lib", undefined]);
      const whole = await here(["rootfs", spec("layered.yaml"), ...epoch, "--arch", "amd64", "-o", scratch.at("whole.tar")]);
      const applied = await here(["rootfs", oci("layered.yaml-oci"), ...epoch, "-o", scratch.at("applied.tar")]);
      if (form === "tar/1") expect(digestOf(applied.stdout)).toBe(digestOf(whole.stdout));
      // apko's archives have no entry of the root.
      const { differences } = JSON.parse((await here(["diff", scratch.at("whole.tar"), scratch.at("applied.tar"), "--json"])).stdout.toString());
      expect(differences.filter(({ path }: { path: string }) => path !== "/" && path !== "")).toEqual([]);
    }
  });

  test("a package that changes changes its layer and the last one", async () => {
    const layers = async () => json(await build("layered.yaml", "--json")).layers.map(({ digest }: { digest: string }) => digest);
    const before = await layers();
    const config = fs.readFileSync(scratch.at("layered.yaml"), "utf8");
    fs.appendFileSync(scratch.at("layered.yaml"), "work-dir: /srv\n");
    const after = await layers();
    expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
    expect(after[2]).not.toBe(before[2]);
    fs.writeFileSync(scratch.at("layered.yaml"), config);
  });

  test("is verified from the configuration, layer by layer; a layer that is another is named, and so is another number of them", async () => {
    await build("layered.yaml");
    const verify = (...args: string[]) => here(["verify", oci("layered.yaml-oci"), "--from", spec("layered.yaml"), "--platform", "linux/amd64", ...args]);
    expect(json(await verify("--json")).recomputed.from.map(({ ok }: { ok: boolean }) => ok)).toEqual([true, true, true]);
    await build("layered.yaml", "--add", `etc/motd=${scratch.at("extra/motd")}`);
    expect(json(await verify("--json"), 1).recomputed.from.map(({ ok }: { ok: boolean }) => ok)).toEqual([true, true, false]);
    await build("image.yaml");
    expectFailure(
      await here(["verify", oci("image.yaml-oci"), "--from", spec("layered.yaml"), "--platform", "linux/amd64"]),
      2,
      /expected 1 layer, found 3, of apko:/,
    );
  });

  test("options cut otherwise, or are refused when they leave nothing of it", async () => {
    expect(json(await build("layered.yaml", "--split", "size=1K", "--json")).layers.every(({ names = ["/"] }) => names[0]?.startsWith("/"))).toBe(true);
    expectFailure(await build("layered.yaml", "--prefix", "sub"), 2, /field layering.*found --prefix/);
    expectFailure(await build("layered.yaml", "--base", oci("all:v1"), "--difference"), 2, /field layering.*found --difference/);
  });

  test("of any packages, any budget: the layers put on each other are the tree", async () => {
    const name = fc.constantFrom(..."abcdefgh");
    const path = fc.array(fc.constantFrom("x", "y", "z"), { minLength: 0, maxLength: 3 });
    const one = fc.record({
      name,
      origin: fc.constantFrom("m", "n", "o", ""),
      size: fc.nat(9),
      at: fc.array(path, { maxLength: 4 }),
      replaces: fc.array(name, { maxLength: 2 }),
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(one, { selector: (p) => p.name, minLength: 1, maxLength: 6 }), fc.nat(7), async (drawn, budget) => {
        const folder = `random-${run++}`;
        const packages = drawn.map(({ at, ...rest }) => ({
          ...rest,
          files: Object.fromEntries(
            at.flatMap((names) => [
              ...names.map((_, i): [string, string] => [`${names.slice(0, i + 1).join("/")}/`, ""]),
              [[...names, `f-${rest.name}`].join("/"), rest.name],
            ]),
          ),
        }));
        repository(folder, packages, ["x86_64"]);
        const contents = { keyring: [scratch.at("test.rsa.pub")], repositories: [scratch.at(folder)], packages: packages.map((p) => p.name) };
        const config = parseApkoConfig({ contents, archs: ["x86_64"], layering: { strategy: "origin", budget } }, "random");
        const spool = async (stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) => ({ ...memorySource(await collect(stream)), close: () => undefined });
        const built = await buildApko(config, { architecture: "x86_64", epoch: 0, fetcher: folderFetcher(), rsa: nodeRsa, gunzip: nodeGunzip, spool });
        const layers = built.layersOf?.(built.tree) ?? [];
        expect(layers.length).toBeLessThanOrEqual(Math.max(budget, 1) + 1);
        expect(layers.flatMap(({ names }) => names).sort()).toEqual(packages.map((p) => p.name).sort());
        const applied = applyLayers(layers.map(({ tree }) => ({ nodes: tree }))).tree;
        for await (const difference of compareTrees(built.tree, applied)) expect.fail(formatDifference(difference));
        // In apko's archives the root has no entry.
        const archives = await Promise.all(layers.map(async ({ tree }) => readTarEntries(memorySource(await collect(writeGoTar(tree))), { name: "layer" })));
        expect(applyLayers(archives).tree.size).toBe(built.tree.size);
        built.close();
      }),
      { numRuns: process.env.IMGKIT_LONG === "1" ? 200 : 15 },
    );
  });
});

describe("a base image", () => {
  const contents = (packages: string, more = "") =>
    `contents:\n  keyring: [${scratch.at("test.rsa.pub")}]\n  repositories: [${scratch.at("repo")}]\n  packages: [${packages}]\n${more}archs: [x86_64, aarch64]\n`;
  const on = (layout: string) => `  baseimage: {image: ${oci(layout)}, apkindex: ${scratch.at("below-index")}}\n`;
  const make = (name: string, ...options: string[]) => here(["image", spec(name), ...epoch, "-o", oci(`${name}-oci`), ...options]);

  /** An image of two packages, and a copy of its database for each machine. */
  beforeAll(async () => {
    scratch.write("below.yaml", `${contents("base, lib")}cmd: below\naccounts: {users: [{username: app, uid: 1000}]}\n`);
    expect(await make("below.yaml")).toMatchObject({ code: 0 });
    for (const [arch, platform] of [
      ["x86_64", "linux/amd64"],
      ["aarch64", "linux/arm64"],
    ] as const) {
      scratch.folder(`below-index/${arch}`);
      const { stdout } = await here(["cat", oci("below.yaml-oci"), "usr/lib/apk/db/installed", "--platform", platform]);
      scratch.write(`below-index/${arch}/APKINDEX`, stdout);
    }
    scratch.write("top.yaml", contents("app, lib", on("below.yaml-oci")));
  });

  test("keeps its layers and settings; what it has is not installed again, and is in the database", async () => {
    const made = json(await make("top.yaml", "--json", "--record", scratch.at("top.json")));
    const below = blob("below.yaml-oci", JSON.parse(fs.readFileSync(oci("below.yaml-oci/index.json"), "utf8")).manifests[0].digest);
    expect(made.images).toHaveLength(2);
    for (const [i, { platform, layers }] of made.images.entries()) {
      const name = `linux/${platform.architecture}`;
      const under = blob("below.yaml-oci", below.manifests[i].digest);
      expect(layers.map(({ digest, base = false }: { digest: string; base?: boolean }) => (base ? digest : ""))).toEqual([under.layers[0].digest, ""]);
      const { image } = json(await here(["inspect", oci("top.yaml-oci"), "--platform", name, "--json"]));
      expect(image).toMatchObject({
        platform: name,
        settings: { Cmd: ["below"] },
        annotations: { "org.opencontainers.image.base.digest": below.manifests[i].digest },
      });
      const cat = async (path: string) => (await here(["cat", oci("top.yaml-oci"), path, "--platform", name])).stdout.toString();
      expect([...(await cat("usr/lib/apk/db/installed")).matchAll(/^P:(.*)$/gm)].map(([, p]) => p)).toEqual(["base", "lib", "app"]);
      expect(await cat("etc/apk/world")).toBe("app=1.0-r0\nbase=1.0-r0\nlib=1.0-r0\n");
      expect(await cat("etc/passwd")).toContain("app:x:1000");
      expect(JSON.parse(await cat("etc/apko.json")).contents).toMatchObject({ packages: ["app=1.0-r0"], baseimage: { image: oci("below.yaml-oci") } });
      expect((await cat("usr/lib/lib.so")) + (await cat("usr/bin/app"))).toBe("libapp");
    }
    expect(await here(["verify", oci("top.yaml-oci"), "--from", scratch.at("top.json")])).toMatchObject({ code: 0 });
    const { inputs } = JSON.parse(fs.readFileSync(scratch.at("top.json"), "utf8"));
    expect(inputs.map(({ name }: { name: string }) => name)).toEqual([spec("top.yaml"), `oci:${oci("below.yaml-oci")}`, `oci:${oci("below.yaml-oci")}`]);
  });

  test("a lock has what is put on it, and the image from the lock is the same", async () => {
    expect(await here(["lock", spec("top.yaml"), "-o", scratch.at("top.lock.json")])).toMatchObject({ code: 0 });
    const { packages } = JSON.parse(fs.readFileSync(scratch.at("top.lock.json"), "utf8")).contents;
    expect(packages.map((one: { name: string; architecture: string }) => `${one.name} ${one.architecture}`)).toEqual(["app x86_64", "app aarch64"]);
    const plain = digestOf((await make("top.yaml")).stdout);
    expect(digestOf((await make("top.yaml", "--lockfile", scratch.at("top.lock.json"))).stdout)).toBe(plain);
  });

  test("a layout that lists images for machines without an index will do; one without the machine is refused", async () => {
    const whole = digestOf((await make("top.yaml", "--arch", "amd64")).stdout);
    const index = JSON.parse(fs.readFileSync(oci("below.yaml-oci/index.json"), "utf8"));
    fs.cpSync(oci("below.yaml-oci"), oci("flat"), { recursive: true });
    const flat = (manifests: readonly object[]) => fs.writeFileSync(oci("flat/index.json"), JSON.stringify({ ...index, manifests }));
    const { manifests } = blob("flat", index.manifests[0].digest);
    flat(manifests);
    scratch.write("flat.yaml", contents("app, lib", on("flat")));
    const made = json(await make("flat.yaml", "--json"));
    expect(made.images.map(({ layers }: { layers: readonly { base?: boolean }[] }) => layers.map(({ base = false }) => base))).toEqual([
      [true, false],
      [true, false],
    ]);
    expect(whole).toMatch(/^sha256:/);
    flat(manifests.slice(0, 1));
    expectFailure(await make("flat.yaml"), 2, /the base image is for other machines.*expected linux\/arm64, found linux\/amd64/);
  });

  test("is no tree, stands on no other, and its database is for its machine", async () => {
    for (const command of ["rootfs", "disk", "layer"])
      expectFailure(
        await here([command, spec("top.yaml"), ...epoch, "-o", scratch.at("x")]),
        2,
        /builds on an image.*field contents\.baseimage.*imgkit image apko:/,
      );
    expectFailure(await here(["image", scratch.at("extra"), "--overlay", spec("top.yaml"), ...epoch, "-o", oci("x")]), 2, /builds on an image/);
    expectFailure(await make("top.yaml", "--base", oci("below.yaml-oci")), 2, /stand on two others/);
    scratch.write("split.yaml", `${contents("app", on("below.yaml-oci"))}layering: {strategy: origin, budget: 2}\n`);
    expectFailure(await make("split.yaml"), 2, /field layering.*contents and archs alone/);
    scratch.write("gone.yaml", contents("app", on("nowhere")));
    expectFailure(await make("gone.yaml"), 2, /nowhere/);
    const index = scratch.at("below-index/x86_64/APKINDEX");
    const text = fs.readFileSync(index, "utf8");
    fs.writeFileSync(index, text.replace("A:x86_64", "A:riscv64"));
    expectFailure(await make("top.yaml"), 2, /below-index\/x86_64\/APKINDEX: a package for another architecture/);
    fs.writeFileSync(index, text.replace("V:1.0-r0", "V:0.9-r0"));
    expectFailure(await make("top.yaml", "--lockfile", scratch.at("gone.lock.json")), 2, /gone\.lock\.json/);
    // Another version of what is below is what is below: nothing else is taken for it.
    expect(await make("top.yaml", "--arch", "amd64")).toMatchObject({ code: 0 });
    expect((await here(["cat", oci("top.yaml-oci"), "etc/apk/world"])).stdout.toString()).toContain("base=0.9-r0");
    fs.rmSync(index);
    expectFailure(await make("top.yaml"), 2, /APKINDEX/);
    fs.writeFileSync(index, text);
  });
});

withRealData("apko's own example for all its machines: the layers have apko's diff_ids, and the index its order and annotations", async () => {
  const said = ["--annotation", "org.opencontainers.image.title=Title", "--annotation", "org.opencontainers.image.vendor=Vendor"];
  const options = ["--epoch", "0", "--tar-form", "apko", ...said, "-o", oci("golden"), "--json"];
  const made = json(await imgkit(["image", "apko:testdata/apko.yaml", ...options], { cwd: realData }));
  expect(made.images.map(({ layers }: { layers: readonly { diffId: string }[] }) => layers[0]?.diffId)).toEqual([
    "sha256:20f698463c2755b6dc42b7d07e959ed7455a06e7367d507e829a315898f21a01",
    "sha256:ca5e16c7c944d764863cb1a4286e668e72d6d87ef9ddd82337b19d87715bae7e",
  ]);
  const index = blob("golden", made.output.digest);
  expect(index.manifests.map(({ platform }: { platform: object }) => platform)).toEqual([
    { architecture: "amd64", os: "linux" },
    { architecture: "arm64", os: "linux" },
  ]);
  expect(index.annotations).toEqual({
    "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
    "org.opencontainers.image.title": "Title",
    "org.opencontainers.image.vendor": "Vendor",
  });
});
