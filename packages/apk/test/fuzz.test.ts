import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { ImgkitError, memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openApk } from "../src/apk-file.ts";
import { nodeGunzip } from "../src/index.node.ts";
import { checkData, makeCatalogue, type PackageInfo, parseApkoConfig, parseApkoLock, parseIndex, resolve } from "../src/index.ts";
import { installFiles } from "../src/install/install.ts";
import { Root } from "../src/install/root.ts";
import { entry, tarOf } from "./support.ts";

// Whatever is read, it is read whole or refused by a typed error that blames the input.

/** Runs a job; false when it was refused. */
async function isTaken(job: () => Promise<unknown> | unknown): Promise<boolean> {
  try {
    await job();
    return true;
  } catch (error) {
    if (!(error instanceof ImgkitError)) throw error;
    expect(error).toMatchObject({ kind: "input" });
    expect(error.message).not.toMatch(/\n/);
    return false;
  }
}

const word = fc.oneof(
  fc.constantFrom("a", "b", "so:c", "a=1", "b>1", "!a", "a~1.2", "c><Q1xx", "a@edge", "../x", "__proto__", "", "=", "9".repeat(300), "\u0000", "é", "\ud800"),
  fc.string({ maxLength: 12 }),
);

test("any text is an index, and can be resolved from, or is refused with its line", async () => {
  const line = fc.oneof(
    fc.tuple(fc.constantFrom(..."PVACSITULomctkqDpirXZ"), fc.array(word, { maxLength: 4 })).map(([letter, words]) => `${letter}:${words.join(" ")}`),
    fc.constantFrom("", ":", "P", "P:a", "A:x86_64", "C:Q1", "\r"),
    fc.string(),
  );
  const good = fc
    .record({ name: fc.constantFrom("a", "b", "c"), depends: fc.array(word, { maxLength: 3 }), provides: fc.array(word, { maxLength: 2 }) })
    .map(entry);
  const text = fc.array(fc.oneof({ arbitrary: good, weight: 4 }, { arbitrary: line, weight: 1 }), { maxLength: 6 }).map((parts) => parts.join("\n"));
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(text, fc.array(word, { maxLength: 2 }), async (index, world) => {
      const packages: PackageInfo[] = [];
      if (!(await isTaken(() => packages.push(...parseIndex(index, "I"))))) return;
      for (const { name, checksum } of packages) expect(`${name} ${checksum}`).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._+-]* Q1.{28}$/);
      if (await isTaken(() => resolve(world, makeCatalogue([{ packages }], "x86_64")))) taken++;
    }),
    { numRuns: 2000 },
  );
  expect(taken).toBeGreaterThan(100);
});

/** Sets bytes of a tar, and the checksums of its headers right again, so that the change is what is read. */
function change(tar: Uint8Array, changes: readonly (readonly [at: number, value: number])[]): Buffer {
  const out = Buffer.from(tar);
  for (const [at, value] of changes) out[at % out.length] = value;
  for (let at = 0; at + 512 <= out.length; at += 512) {
    if (out.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    out.write("        ", at + 148, "latin1");
    const sum = out.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
    out.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
  }
  return out;
}

test("any members are a package that is installed whole, or are refused", async () => {
  const sha1 = (text: string): string => createHash("sha1").update(text).digest("hex");
  const info = "pkgname = a\npkgver = 1.0-r0\narch = x86_64\nsize = 10\nprovides = so:a=1 cmd:a\ntriggers = /usr/lib\n";
  const data = tarOf({ "usr/": "", "usr/a": "a", "usr/b": "bb", "etc/c": "c" }, { "usr/link": "a" }, { "usr/a": sha1("a"), "etc/c": sha1("c") });
  // Where the types, sizes, names and letters of a header stand is where a change says most.
  const place = fc.oneof(
    fc.nat(),
    fc.tuple(fc.nat(20), fc.oneof(fc.nat(12), fc.integer({ min: 100, max: 165 }))).map(([block, at]) => 512 * block + at),
  );
  const value = fc.oneof(fc.nat(255), fc.constantFrom(...[..."0123456 ./xgLKS\0"].map((c) => c.charCodeAt(0))));
  const changes = fc.array(fc.tuple(place, value), { maxLength: 3 });
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(changes, changes, async (inControl, inData) => {
      const second = gzipSync(change(data, inData), { level: 1 });
      const hash = `datahash = ${createHash("sha256").update(second).digest("hex")}\n`;
      const first = gzipSync(change(tarOf({ ".PKGINFO": `${info}${hash}`, ".post-install": "#!/bin/sh\n" }), inControl), { level: 1 });
      const isWhole = await isTaken(async () => {
        const apk = await openApk(memorySource(new Uint8Array(Buffer.concat([first, second]))), { name: "a.apk", gunzip: nodeGunzip });
        await checkData(apk, "a.apk");
        const root = new Root();
        root.put({ type: "directory", ...root.meta("", 0o755) });
        await installFiles(root, apk.info, memorySource(new Uint8Array(change(data, inData))), "a.apk");
        for (const { path } of root.tree()) expect(path.split("/")).not.toContain("..");
      });
      if (isWhole) taken++;
    }),
    { numRuns: 1500 },
  );
  expect(taken).toBeGreaterThan(50);
});

test("any document is a configuration, or is refused by the name of its member", async () => {
  const keys = "contents entrypoint cmd stop-signal work-dir accounts archs environment paths vcs-url annotations volumes include __proto__ constructor".split(
    " ",
  );
  const inner = "packages keyring repositories command shell-fragment run-as users groups username uid path type permissions source recursive x".split(" ");
  // As an alias of YAML within what it names.
  const circle: unknown[] = [];
  circle.push(circle);
  const leaf = fc.oneof(
    word,
    fc.constantFrom(null, true, 0, -1, 1.5, 2 ** 33, Number.NaN, "amd64", "directory", "permissions", "/x"),
    fc.bigInt(),
    fc.constant(circle),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      leaf,
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...inner), tie("value"), { maxKeys: 4 }),
    ),
  }));
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 3 }), value), async (document) => {
      if (await isTaken(() => parseApkoConfig(document, "apko.yaml"))) taken++;
    }),
    { numRuns: 3000 },
  );
  expect(taken).toBeGreaterThan(100);
});

test("any change to a lock leaves a lock, or is refused", async () => {
  const part = { range: "bytes=0-9", checksum: "sha1-AAAA" };
  const one = { name: "a", url: "r/a.apk", version: "1", architecture: "x86_64", signature: part, control: part, data: part, checksum: `Q1${"A".repeat(27)}=` };
  const contents = { keyring: [{ name: "k", url: "k", content: "" }], build_repositories: [], repositories: [], packages: [one] };
  const text = JSON.stringify({ version: "v1", config: { name: "x", checksum: "sha256-A" }, contents });
  await fc.assert(
    fc.asyncProperty(
      fc.nat(text.length),
      fc.nat(30),
      fc.oneof(fc.constantFrom("", "null", "[]", "{}", '"', "1e999", "../"), fc.string()),
      async (at, length, put) => {
        await isTaken(() => parseApkoLock(text.slice(0, at) + put + text.slice(at + length), "lock"));
      },
    ),
    { numRuns: 2000 },
  );
});

test("a sparse file that claims more bytes than there are is refused before they are asked for", async () => {
  const tar = tarOf({ ".PKGINFO": "x".repeat(512) });
  tar.write("S", 156, "latin1");
  tar.write("ustar  \0", 257, "latin1");
  tar.write("00000000000\x0000000001000\0", 386, "latin1");
  tar.write("77777777777\0", 483, "latin1");
  const bytes = new Uint8Array(gzipSync(change(tar, [])));
  await expect(openApk(memorySource(bytes), { name: "a.apk", gunzip: nodeGunzip })).rejects.toThrow(expect.objectContaining({ code: "TAR_LIMIT" }));
});
