import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect, memorySource } from "@imgkit/bytes";
import { compareTrees, formatDifference, readTar, type Tree, writeGoTar } from "@imgkit/core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { realData, withRealData } from "../../../test/apk-data.ts";
import { folderFetcher, nodeGunzip, nodeRsa } from "../src/index.node.ts";
import { type ApkoBuild, type ApkoBuildOptions, buildApko, formatApkoLock, lockApko, parseApkoConfig, parseApkoLock, parseIndex } from "../src/index.ts";
import { entry, indexFile, makeApk, makeSigner, type Signer, signed } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-apko-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let open = 0;
beforeEach(() => {
  open = 0;
});
const options = (base: string, more: Partial<ApkoBuildOptions> = {}): ApkoBuildOptions => ({
  architecture: "x86_64",
  epoch: 0,
  fetcher: folderFetcher(base),
  rsa: nodeRsa,
  gunzip: nodeGunzip,
  async spool(stream) {
    open++;
    const source = memorySource(await collect(stream));
    return { ...source, close: () => void open-- };
  },
  ...more,
});

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
async function text(tree: Tree, path: string): Promise<string | undefined> {
  const node = tree.get(path);
  return node?.type === "file" ? Buffer.from(await node.content.read(0, node.content.size)).toString() : undefined;
}

/** What its testdata/apko.yaml says. */
const example = () =>
  parseApkoConfig(
    {
      contents: { keyring: ["./testdata/melange.rsa.pub"], repositories: ["./testdata/packages"], packages: ["replayout"] },
      entrypoint: { command: "/bin/sh -l" },
      archs: ["x86_64", "aarch64"],
    },
    "apko.yaml",
  );
const annotations = { "org.opencontainers.image.title": "Title", "org.opencontainers.image.vendor": "Vendor" };

describe("apko's own example", () => {
  withRealData("the amd64 layer has apko's own digest, byte for byte, by any of the architecture's names", async () => {
    for (const architecture of ["x86_64", "amd64", "x86-64"]) {
      const built = await buildApko(example(), options(realData, { architecture, annotations }));
      expect(sha256(await collect(writeGoTar(built.tree)))).toBe("20f698463c2755b6dc42b7d07e959ed7455a06e7367d507e829a315898f21a01");
      built.close();
    }
    expect(open).toBe(0);
  });

  withRealData("the other architecture has the same tree, less what names it", async () => {
    const [amd64, arm64] = [await buildApko(example(), options(realData)), await buildApko(example(), options(realData, { architecture: "aarch64" }))];
    const different: string[] = [];
    for await (const { path } of compareTrees(amd64.tree, arm64.tree)) different.push(path);
    expect(different).toEqual([
      "etc/apk/arch",
      "etc/apko.json",
      "usr/lib/apk/db/installed",
      "var/lib/db/sbom/pretend-baselayout-1.0.0-r0.spdx.json",
      "var/lib/db/sbom/replayout-1.0.0-r0.spdx.json",
    ]);
    for (const built of [amd64, arm64]) built.close();
    await expect(buildApko(example(), options(realData, { architecture: "riscv64" }))).rejects.toThrow(/expected amd64, arm64, found riscv64/);
  });
});

describe("a repository that the test makes", () => {
  let signer: Signer;
  beforeAll(() => {
    signer = makeSigner("test.rsa.pub");
    writeFileSync(join(folder, "test.rsa.pub"), signer.pem);
  });

  type Package = Parameters<typeof makeApk>[0] & {
    readonly depends?: readonly string[];
    readonly provides?: readonly string[];
    readonly replaces?: readonly string[];
    readonly origin?: string;
  };
  let count = 0;
  /** Puts packages into a signed repository; `alter` may change a file after it was listed. */
  function repository(packages: readonly Package[], alter?: (bytes: Buffer, name: string) => Buffer): string {
    const name = `repo-${count++}`;
    mkdirSync(join(folder, name, "x86_64"), { recursive: true });
    const entries = packages.map(({ depends = [], provides = [], replaces = [], origin, ...made }) => {
      const lines = [
        ...depends.map((one) => `depend = ${one}\n`),
        ...provides.map((one) => `provides = ${one}\n`),
        ...replaces.map((one) => `replaces = ${one}\n`),
        `origin = ${origin ?? made.name}\n`,
      ];
      const change = (pkginfo: string): string => (made.change ?? ((t) => t))(pkginfo.replace(/depend = .*\n/g, "") + lines.join(""));
      const { bytes, checksum } = makeApk({ ...made, change, signer });
      writeFileSync(join(folder, name, "x86_64", `${made.name}-1.0-r0.apk`), alter?.(bytes, made.name) ?? bytes);
      return entry({ name: made.name, checksum, depends, provides });
    });
    writeFileSync(join(folder, name, "x86_64", "APKINDEX.tar.gz"), signed(indexFile(entries), signer));
    return name;
  }
  const made = (options: Partial<Parameters<typeof makeApk>[0]>): Buffer =>
    makeApk({ name: "a", ...options, change: (t) => (options.change ?? ((same) => same))(t.replace(/depend = .*\n/g, "")) }).bytes;
  const build = (repo: string, more: object = {}, packages: readonly string[] = ["a"]): Promise<ApkoBuild> =>
    buildApko(parseApkoConfig({ contents: { keyring: ["test.rsa.pub"], repositories: [repo], packages }, ...more }, "apko.yaml"), options(folder));

  test("packages, scripts, triggers and the world are in the database; scripts are not run, and that is said", async () => {
    const repo = repository([
      { name: "a", depends: ["b"], files: { "usr/": "", "usr/bin/": "", "usr/bin/a": "a\n" } },
      { name: "b", change: (pkginfo) => `${pkginfo}triggers = /usr/lib /usr/share\n` },
    ]);
    const { tree, findings, packages, close } = await build(repo);
    expect(packages.map(({ name }) => name)).toEqual(["b", "a"]);
    expect(await text(tree, "etc/apk/world")).toBe("a=1.0-r0\nb=1.0-r0\n");
    expect(await text(tree, "etc/apk/repositories")).toBe(`${repo}\n`);
    expect(await text(tree, "usr/lib/apk/db/installed")).toMatch(/^P:b\n[\s\S]*\n\nP:a\n[\s\S]*R:a\nZ:Q1/);
    expect(await text(tree, "usr/lib/apk/db/triggers")).toMatch(/^Q1\S+ \/usr\/lib\nQ1\S+ \/usr\/share\n$/);
    expect(tree.get("lib/apk")).toMatchObject({ type: "symlink", target: "../usr/lib/apk" });
    expect(findings).toEqual(["2 scripts of packages were recorded, and not run"]);
    const scripts = tree.get("usr/lib/apk/db/scripts.tar");
    if (scripts?.type !== "file") throw new Error("there are no scripts");
    const recorded = [...(await readTar(scripts.content)).tree].map(({ path }) => path).filter((path) => path !== "");
    expect(recorded.filter((path) => path.endsWith(".post-install"))).toHaveLength(2);
    close();
  });

  test("the installed database is read back as it was written", async () => {
    const { tree, close } = await build(repository([{ name: "a", provides: ["cmd:a=1.0-r0"], replaces: ["z"] }]));
    const [info] = parseIndex((await text(tree, "usr/lib/apk/db/installed")) ?? "");
    expect(info).toMatchObject({ name: "a", version: "1.0-r0", provides: ["cmd:a=1.0-r0"] });
    close();
  });

  test("what two packages bring alike is one file; what differs is refused, unless one replaces the other or both have one origin", async () => {
    const two = (a: string, b: string, more: Partial<Package> = {}): Promise<ApkoBuild> =>
      build(
        repository([
          { name: "a", files: { "etc/x": a }, ...more },
          { name: "b", files: { "etc/x": b }, ...(more.origin === undefined ? {} : { origin: more.origin }) },
        ]),
        {},
        ["a", "b"],
      );
    const contentOf = async (built: Promise<ApkoBuild>): Promise<string | undefined> => {
      const { tree, close } = await built;
      return text(tree, "etc/x").finally(close);
    };
    expect(await contentOf(two("same", "same"))).toBe("same");
    await expect(two("one", "two")).rejects.toThrow(/two packages bring the same path.*found a-1\.0-r0 and b-1\.0-r0/);
    // The first stays when it replaces the second; of one origin the second does.
    expect(await contentOf(two("one", "two", { replaces: ["b"] }))).toBe("one");
    expect(await contentOf(two("one", "two", { origin: "o" }))).toBe("two");
    expect(open).toBe(0);
  });

  describe("nothing is installed of", () => {
    const sha1 = (text: string): string => createHash("sha1").update(text).digest("hex");
    test.each<[what: string, given: Partial<Package>, code: string, cause: RegExp, alter?: (bytes: Buffer) => Buffer]>([
      [
        "another package than the index lists",
        {},
        "CHECKSUM_MISMATCH",
        /not the package that the index lists.*field checksum/,
        () => made({ files: { evil: "x" } }),
      ],
      ["a package of another name", {}, "NOT_IN_INDEX", /field name; expected a, found b/, () => made({ name: "b" })],
      ["a package of another version", {}, "NOT_IN_INDEX", /field version/, () => made({ change: (t) => t.replace("1.0-r0", "0.9-r0") })],
      ["a package for another machine", {}, "NOT_IN_INDEX", /field architecture/, () => made({ change: (t) => t.replace("x86_64", "riscv64") })],
      ["a package whose control data was changed", {}, "CHECKSUM_MISMATCH", /field checksum/, () => made({ change: (t) => `${t}depend = evil\n` })],
      ["a package whose data was changed", {}, "CHECKSUM_MISMATCH", /field datahash/, (bytes) => Buffer.concat([bytes, Buffer.alloc(512)])],
      ["a package that is cut off", {}, "CHECKSUM_MISMATCH", /field datahash/, (bytes) => bytes.subarray(0, bytes.length - 1)],
      ["a package whose data has no hash", { change: (t) => t.replace(/datahash.*\n/, "") }, "BAD_PACKAGE", /field datahash/],
      ["a package that lies about its data", { change: (t) => t.replace(/datahash = .{8}/, "datahash = 00000000") }, "CHECKSUM_MISMATCH", /field datahash/],
      ["a package that lies about a file", { files: { "etc/x": "x" }, checksums: { "etc/x": sha1("y") } }, "CHECKSUM_MISMATCH", /a-1\.0-r0\.apk\/etc\/x.*SHA1/],
      ["a package with a checksum that is none", { files: { "etc/x": "x" }, checksums: { "etc/x": "x".repeat(40) } }, "BAD_PACKAGE", /no SHA-1/],
      ["a package with a path that leads out", { files: { "../evil": "x" } }, "BAD_PATH", /\.\./],
      ["a package that writes to the root by ..", { files: { "etc/../../evil": "x" } }, "BAD_PATH", /\.\./],
      ["a file in a link of the same package", { links: { "var/x": "/etc" }, programs: { "var/x/passwd": Buffer.from("evil") } }, "THROUGH_SYMLINK", /var\/x/],
      ["a file where the image has another", { files: { "etc/apk/arch": "vax\n" } }, "FILE_CONFLICT", /the image itself and a-1\.0-r0/],
      ["a folder where the image has a file", { files: { "etc/apk/world/": "" } }, "FILE_CONFLICT", /etc\/apk\/world/],
      ["a control member without end", { control: { ".PKGINFO": new Uint8Array(70 << 20) } }, "BAD_PACKAGE", /too large for what it is/],
    ])("%s", async (_, given, code, cause, alter) => {
      const built = build(repository([{ ...given, name: "a" }], alter));
      await expect(built).rejects.toThrow(expect.objectContaining({ code, message: expect.stringMatching(cause) }));
      expect(open).toBe(0);
    });

    test("a file that is written through a link", async () => {
      const through = repository([
        { name: "a", files: { "var/lib2/passwd": "evil" }, depends: ["l"] },
        { name: "l", links: { "var/lib2": "/etc" }, files: {} },
      ]);
      await expect(build(through)).rejects.toThrow(expect.objectContaining({ code: "THROUGH_SYMLINK" }));
    });

    test("an index by a stranger, an unsigned one, or one without the package", async () => {
      const repo = repository([{ name: "a" }]);
      await expect(build(repo, {}, ["gone"])).rejects.toThrow(/nothing provides gone/);
      writeFileSync(join(folder, repo, "x86_64", "APKINDEX.tar.gz"), indexFile([entry({ name: "a" })]));
      await expect(build(repo)).rejects.toThrow(expect.objectContaining({ code: "BAD_SIGNATURE" }));
      writeFileSync(join(folder, repo, "x86_64", "APKINDEX.tar.gz"), signed(indexFile([entry({ name: "a" })]), makeSigner("stranger.rsa.pub")));
      await expect(build(repo)).rejects.toThrow(expect.objectContaining({ code: "UNKNOWN_KEY" }));
      await expect(build("ftp://example.invalid/repo")).rejects.toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
    });
  });

  test("a key that a package brings as well is that key, and the package lists it; another one of its name is refused", async () => {
    const bringing = (pem: string): string =>
      repository([{ name: "a", files: { "etc/": "", "etc/apk/": "", "etc/apk/keys/": "", "etc/apk/keys/test.rsa.pub": pem } }]);
    const { tree, close } = await build(bringing(signer.pem));
    expect(await text(tree, "etc/apk/keys/test.rsa.pub")).toBe(signer.pem);
    expect(await text(tree, "usr/lib/apk/db/installed")).toMatch(/\nF:etc\/apk\/keys\n(M:.*\n)?R:test\.rsa\.pub\n/);
    close();
    await expect(build(bringing(`${signer.pem}\n`))).rejects.toThrow(expect.objectContaining({ code: "FILE_CONFLICT" }));
    mkdirSync(join(folder, "other"), { recursive: true });
    writeFileSync(join(folder, "other/test.rsa.pub"), makeSigner("x").pem);
    const two = { contents: { keyring: ["test.rsa.pub", "other/test.rsa.pub"], packages: ["a"] } };
    await expect(buildApko(parseApkoConfig(two, "apko.yaml"), options(folder))).rejects.toThrow(/two keys of one name/);
    writeFileSync(join(folder, "large.pub"), Buffer.alloc(1 << 17));
    const large = { contents: { keyring: ["large.pub"], packages: ["a"] } };
    await expect(buildApko(parseApkoConfig(large, "apko.yaml"), options(folder))).rejects.toThrow(/large\.pub: more bytes than there can be/);
  });

  test("accounts, with homes, shadow entries and the user to run as", async () => {
    const accounts = {
      "run-as": "app",
      users: [
        { username: "app", uid: 1000 },
        { username: "svc", uid: 7, gid: 8, shell: "/bin/false", homedir: "/dev/null" },
      ],
      groups: [{ groupname: "app", gid: 1000, members: ["app", "svc"] }],
    };
    const { tree, config, close } = await build(repository([{ name: "a", files: { "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" } }]), { accounts });
    expect(await text(tree, "etc/passwd")).toBe(
      "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:Account created by apko:/home/app:/bin/sh\nsvc:x:7:8:Account created by apko:/dev/null:/bin/false\n",
    );
    expect(await text(tree, "etc/group")).toBe("app:x:1000:app,svc\n");
    expect(await text(tree, "etc/shadow")).toBe("app:!:::::::\nsvc:!:::::::\n");
    expect(tree.get("etc/shadow")).toMatchObject({ mode: 0o640 });
    expect(tree.get("home/app")).toMatchObject({ type: "directory", mode: 0o700, uid: 1000, gid: 1000 });
    expect(tree.get("root")).toMatchObject({ mode: 0o700 });
    expect(config.accounts.runAs).toBe("1000");
    expect(JSON.parse((await text(tree, "etc/apko.json")) ?? "").accounts).toEqual({
      "run-as": "1000",
      users: [
        { username: "app", uid: 1000, homedir: "/home/app" },
        { username: "svc", uid: 7, gid: 8, shell: "/bin/false", homedir: "/dev/null" },
      ],
      groups: accounts.groups,
    });
    close();
  });

  test("accounts behind a link are written where it leads, with the mode of the file; where there is a folder, refused", async () => {
    const accounts = { users: [{ username: "app", uid: 7, homedir: "/dev/null" }] };
    const links = { "etc/passwd": "../usr/lib/passwd", "etc/shadow": "/usr/lib/shadow" };
    const { tree, close } = await build(repository([{ name: "a", files: { "usr/lib/passwd": "" }, links }]), { accounts });
    expect(tree.get("etc/passwd")).toMatchObject({ type: "symlink", target: "../usr/lib/passwd" });
    expect(await text(tree, "usr/lib/passwd")).toMatch(/^app:x:7:7:/);
    expect(tree.get("usr/lib/passwd")).toMatchObject({ mode: 0o644 });
    expect(tree.get("usr/lib/shadow")).toMatchObject({ type: "file", mode: 0o640 });
    close();
    await expect(build(repository([{ name: "a", files: { "etc/": "", "etc/passwd/": "" } }]), { accounts })).rejects.toThrow(
      expect.objectContaining({ code: "FILE_CONFLICT" }),
    );
  });

  test("beside a bundle of certificates stands its checksum, as sha256sum reads it", async () => {
    const files = { "usr/": "", "usr/ssl/certs/ca-certificates.crt": "PEM\n" };
    const { tree, close } = await build(repository([{ name: "a", files, links: { "etc/ssl": "/usr/ssl" } }]));
    expect(await text(tree, "usr/ssl/certs/.ca-certificates.crt.sha256")).toBe(`${sha256(Buffer.from("PEM\n"))}  ca-certificates.crt\n`);
    expect(tree.get("usr/ssl/certs/.ca-certificates.crt.sha256")).toMatchObject({ mode: 0o444 });
    close();
  });

  test("paths: folders, files, links, modes and owners, in their order", async () => {
    const paths = [
      { path: "/srv/data", type: "directory", uid: 5, gid: 6, permissions: 0o750 },
      { path: "/srv/data/empty", type: "empty-file", permissions: 0o600 },
      { path: "/usr/bin/again", type: "hardlink", source: "/usr/bin/hello", permissions: 0o755 },
      { path: "/srv/link", type: "symlink", source: "data", permissions: 0o777 },
      { path: "/srv/data", type: "permissions", uid: 9, permissions: 0o700, recursive: true },
    ];
    const { tree, close } = await build(repository([{ name: "a" }]), { paths });
    expect(tree.get("srv")).toMatchObject({ uid: 0, gid: 0, mode: 0o750 });
    expect(tree.get("srv/data")).toMatchObject({ uid: 9, gid: 0, mode: 0o700 });
    // One file has one mode.
    expect(tree.get("usr/bin/again")).toMatchObject({ type: "file", mode: 0o755 });
    expect(tree.get("srv/data/empty")).toMatchObject({ type: "file", uid: 9, mode: 0o700 });
    expect(tree.get("srv/link")).toMatchObject({ type: "symlink", target: "data" });
    expect(tree.get("usr/bin/hello")).toMatchObject({ type: "hardlink", target: "usr/bin/again" });
    close();
    await expect(build(repository([{ name: "a" }]), { paths: [{ path: "/gone", type: "permissions", permissions: 0o755 }] })).rejects.toThrow(
      /what is not there/,
    );
    await expect(build(repository([{ name: "a" }]), { paths: [{ path: "/../x", type: "directory", permissions: 0o755 }] })).rejects.toThrow(/\.\./);
  });

  test("busybox gets the links that its package lists; without a list it is refused", async () => {
    const files = { "bin/busybox": "elf", "etc/busybox-paths.d/busybox": "/bin/ls\n/usr/bin/awk\n/bin/busybox\n" };
    const { tree, close } = await build(repository([{ name: "busybox", files }]), {}, ["busybox"]);
    expect(tree.get("bin/ls")).toMatchObject({ type: "symlink", target: "/bin/busybox" });
    expect(tree.get("usr/bin/awk")).toMatchObject({ type: "symlink", target: "/bin/busybox" });
    close();
    await expect(build(repository([{ name: "busybox", files: { "bin/busybox": "elf" } }]), {}, ["busybox"])).rejects.toThrow(/does not list its links/);
  });

  test("the same build twice, and in either tar form read back, is the same tree", async () => {
    const repo = repository([{ name: "a", files: { [`${"long/".repeat(18)}name`]: "x" } }]);
    const [one, two] = [await build(repo), await build(repo)];
    const tars = [await collect(writeGoTar(one.tree)), await collect(writeGoTar(two.tree))] as const;
    expect(sha256(tars[0])).toBe(sha256(tars[1]));
    const different: string[] = [];
    for await (const difference of compareTrees(one.tree, (await readTar(memorySource(tars[0]))).tree)) different.push(formatDifference(difference));
    expect(different).toEqual([]);
    one.close();
    two.close();
  });
});

describe("a lock", () => {
  withRealData("of apko's own example is apko's, byte for byte, and reads back as it was", async () => {
    const theirs = readFileSync(join(realData, "testdata", "apko.lock.json"), "utf8");
    const file = { name: "apko.yaml", bytes: readFileSync(join(realData, "testdata", "apko.yaml")) };
    const lock = await lockApko(example(), { fetcher: folderFetcher(realData), rsa: nodeRsa, gunzip: nodeGunzip, file });
    expect(formatApkoLock(lock)).toBe(theirs);
    expect(formatApkoLock(parseApkoLock(theirs, "apko.lock.json"))).toBe(theirs);
  });

  withRealData("builds the same layer, with the index and the keys gone", async () => {
    const lock = parseApkoLock(readFileSync(join(realData, "testdata", "apko.lock.json"), "utf8"), "apko.lock.json");
    const folders = folderFetcher(realData);
    const fetcher = {
      open: (place: string, name: string) => {
        if (!place.endsWith(".apk")) throw new Error(`only packages are there: ${place} ${name}`);
        return folders.open(place, name);
      },
    };
    const built = await buildApko(example(), options(realData, { lock, annotations, fetcher }));
    expect(sha256(await collect(writeGoTar(built.tree)))).toBe("20f698463c2755b6dc42b7d07e959ed7455a06e7367d507e829a315898f21a01");
    built.close();
  });

  withRealData("whose every hash and range was changed in turn is refused, naming it", async () => {
    const text = readFileSync(join(realData, "testdata", "apko.lock.json"), "utf8");
    const lock = parseApkoLock(text, "l");
    const [first] = lock.contents.packages;
    if (first === undefined) throw new Error("an empty lock");
    for (const part of ["signature", "control", "data"] as const) {
      for (const field of ["range", "checksum"] as const) {
        const changed = first[part][field].replace(/[0-9A-Za-z](?==*$)/, (c) => (c === "1" ? "2" : "1"));
        const packages = lock.contents.packages.map((one) => (one === first ? { ...one, [part]: { ...one[part], [field]: changed } } : one));
        const bad = { ...lock, contents: { ...lock.contents, packages } };
        await expect(buildApko(example(), options(realData, { lock: bad }))).rejects.toThrow(
          expect.objectContaining({ code: "CHECKSUM_MISMATCH", message: expect.stringContaining(`${part}.${field}`) }),
        );
      }
    }
    const renamed = {
      ...lock,
      contents: { ...lock.contents, packages: lock.contents.packages.map((one) => (one === first ? { ...one, version: "2.0.0-r0" } : one)) },
    };
    await expect(buildApko(example(), options(realData, { lock: renamed }))).rejects.toThrow(/another package than the lock lists/);
    const none = { ...lock, contents: { ...lock.contents, packages: [] } };
    await expect(buildApko(example(), options(realData, { lock: none }))).rejects.toThrow(/no package for the architecture/);
  });

  test.each([
    ["no JSON", "{"],
    ["a list", "[]"],
    ["another version", '{"version":"v2","contents":{}}'],
    ["a package whose name is a path", '{"version":"v1","contents":{"packages":[{"name":"../a"}]}}'],
    [
      "a range that is none",
      '{"version":"v1","contents":{"packages":[{"name":"a","url":"u","version":"1","architecture":"x86_64","control":{"range":"1-2"}}]}}',
    ],
  ])("that is %s is refused", (_, text) => {
    expect(() => parseApkoLock(text, "l")).toThrow(expect.objectContaining({ code: "BAD_CONFIG" }));
  });
});
