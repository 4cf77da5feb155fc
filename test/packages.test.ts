import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageFolders, pnpm, root, run, tool } from "../scripts/bootstrap.mjs";

// @imgkit/verity as a stranger has it: packed, installed in an empty folder, used from Node, from TypeScript and in a browser.

const app = fs.mkdtempSync(join(os.tmpdir(), "imgkit-packed-"));
const tarballs = join(app, "tarballs");
afterAll(() => fs.rmSync(app, { recursive: true, force: true }));

const published = packageFolders().filter((folder: string) => folder !== "fixtures");
const packed = new Map<string, readonly string[]>();

/** npm and npx are batch files on Windows, which only a shell starts. */
const isBatch = (command: string): boolean => process.platform === "win32" && command.startsWith("np");

interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

function inApp(command: string, ...args: string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: app, encoding: "utf8", shell: isBatch(command) });
  return { status, output: stdout + stderr };
}

/** Packs a folder as it would be published; the paths in the tarball. */
function pack(folder: string): readonly string[] {
  const { status, stdout, stderr } = spawnSync("npx", ["-y", pnpm, "pack", "--json", "--pack-destination", tarballs], {
    cwd: join(root, folder),
    encoding: "utf8",
    shell: isBatch("npx"),
  });
  expect(status, stdout + stderr).toBe(0);
  const { files } = JSON.parse(stdout.slice(stdout.indexOf("{")));
  return files.map(({ path }: { path: string }) => path);
}

function write(name: string, text: string): string {
  fs.writeFileSync(join(app, name), text);
  return join(app, name);
}

beforeAll(() => {
  const compiled = run(process.execPath, tool("typescript", "tsc"), "-b");
  expect(compiled.ok, compiled.output).toBe(true);
  const bundled = run(process.execPath, join(root, "scripts", "bundle.mjs"));
  expect(bundled.ok, bundled.output).toBe(true);
  fs.mkdirSync(tarballs);
  for (const folder of published) packed.set(folder, pack(folder));
  // From the workspace's own store, so that no registry is asked.
  const noble = fs.realpathSync(join(root, "packages", "verity", "node_modules", "@noble", "hashes"));
  expect(inApp("npm", "pack", "--ignore-scripts", "--pack-destination", tarballs, noble)).toMatchObject({ status: 0 });
  write("package.json", JSON.stringify({ name: "app", private: true, type: "module" }));
  const wanted = fs.readdirSync(tarballs).filter((name) => /^(imgkit-bytes|imgkit-verity|noble-hashes)-/.test(name));
  expect(wanted).toHaveLength(3);
  const installed = inApp("npm", "install", "--offline", "--no-audit", "--no-fund", ...wanted.map((name) => join(tarballs, name)));
  expect(installed.status, installed.output).toBe(0);
}, 300_000);

describe("what is packed", () => {
  test.each(published)("%s: sources and what is compiled from them, the licence, no tests", (folder) => {
    const files = packed.get(folder) ?? [];
    expect(files.filter((path) => !/^((dist|src|bin|assembly)\/.+|package\.json|LICENSE|README\.md)$/.test(path))).toEqual([]);
    expect(files.filter((path) => /test|tsbuildinfo|vectors/.test(path))).toEqual([]);
    expect(files).toContain("LICENSE");
    const manifest = JSON.parse(fs.readFileSync(join(root, folder, "package.json"), "utf8"));
    const targets = [manifest.exports, manifest.bin].flatMap(function leaves(value: unknown): string[] {
      return typeof value === "string" ? [value.replace("./", "")] : Object.values(value ?? {}).flatMap(leaves);
    });
    expect(files).toEqual(expect.arrayContaining(targets));
  });

  test("@imgkit/cli needs no other package, names the licences of what is in it, and works where it is unpacked", () => {
    const alone = fs.mkdtempSync(join(app, "alone-"));
    const tarball = fs.readdirSync(tarballs).find((name) => name.startsWith("imgkit-cli-")) ?? "";
    expect(inApp("tar", "-xzf", join("tarballs", tarball), "-C", basename(alone))).toEqual({ status: 0, output: "" });
    const folder = join(alone, "package");
    const manifest = JSON.parse(fs.readFileSync(join(folder, "package.json"), "utf8"));
    expect([manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies]).toEqual([undefined, undefined, undefined]);
    const licences = fs.readFileSync(join(folder, "dist", "THIRD-PARTY-LICENSES.txt"), "utf8");
    expect([...licences.matchAll(/^(\S+) \d+\.\d+\.\d+ \(.+\)$/gm)].map(([, name]) => name)).toEqual(
      expect.arrayContaining(["@noble/hashes", "asn1js", "commander", "undici", "yaml"]),
    );
    const command = join(folder, manifest.bin.imgkit);
    // Everything is loaded: each command's help, and then one that does something.
    expect(inApp(process.execPath, command, "--help")).toMatchObject({ status: 0, output: expect.stringContaining("Usage: imgkit") });
    const rootfs = inApp(process.execPath, command, "rootfs", basename(alone), "--epoch", "0", "-o", "rootfs.tar");
    expect(rootfs).toMatchObject({ status: 0 });
  });

  test("@imgkit/verity depends on @imgkit/bytes and @noble/hashes, and on nothing else", () => {
    const names = (folder: string): string[] => fs.readdirSync(join(app, "node_modules", folder)).filter((name) => !name.startsWith("."));
    expect([names("."), names("@imgkit"), names("@noble")]).toEqual([["@imgkit", "@noble"], ["bytes", "verity"], ["hashes"]]);
    const { dependencies } = JSON.parse(fs.readFileSync(join(app, "node_modules/@imgkit/verity/package.json"), "utf8"));
    expect(Object.keys(dependencies)).toEqual(["@imgkit/bytes", "@noble/hashes"]);
    expect(JSON.stringify(dependencies)).not.toContain("workspace");
  });
});

// Of 300 blocks, which is two levels: as veritysetup 2.6.1 has it for this salt.
const blocks = 300;
const expected = "285c660d7a6a633270c3545720bb8ae9db2e37567415edb345d8c3d5f254dae3";
const using = `
  import { memorySource, toHex } from "@imgkit/bytes";
  import { defaultVerityParams, portableEngine, rootHashOf } from "@imgkit/verity";
  export async function root() {
    const data = new Uint8Array(${blocks} * 4096).map((_, i) => (i * i) >> 8);
    return toHex(await rootHashOf(memorySource(data), { ...defaultVerityParams, salt: new Uint8Array(32), engine: portableEngine }));
  }`;

describe("installed in an empty folder", () => {
  test("it works from plain Node, in memory and with files", () => {
    write("data", "");
    const script = `${using}
      import fs from "node:fs";
      import { rootHashOfFile, formatVerityFiles, verifyVerityFiles } from "@imgkit/verity/node";
      fs.writeFileSync("data", new Uint8Array(${blocks} * 4096).map((_, i) => (i * i) >> 8));
      const params = { ...defaultVerityParams, salt: new Uint8Array(32) };
      const { rootHash } = await formatVerityFiles("data", "tree", { ...params, superblock: true, hashOffset: 0, uuid: "6a4e1c5e-0000-4000-8000-000000000001" });
      const { ok } = await verifyVerityFiles("data", "tree", rootHash, { hashOffset: 0 });
      console.log(JSON.stringify([await root(), toHex(rootHash), toHex(await rootHashOfFile("data", params)), ok]));`;
    const { status, output } = inApp(process.execPath, write("use.mjs", script));
    expect(status, output).toBe(0);
    expect(JSON.parse(output)).toEqual([expected, expected, expected, true]);
  });

  test.each([
    ["NodeNext", "NodeNext", { lib: ["ES2022"], types: ["node"], typeRoots: [join(root, "node_modules", "@types")] }, ["portable.ts", "node.ts"]],
    // Without any types but the language's, also for what runs in Node.
    ["ESNext", "Bundler", { lib: ["ES2022"], types: [] }, ["portable.ts", "node.ts"]],
  ])("it works from strict TypeScript, module %s, resolution %s", (module, moduleResolution, environment, files) => {
    const options = { strict: true, exactOptionalPropertyTypes: true, noEmit: true, skipLibCheck: false, target: "ES2022", module, moduleResolution };
    write("tsconfig.json", JSON.stringify({ compilerOptions: { ...options, ...environment }, files }));
    write(
      "portable.ts",
      `import { type ByteSource, memorySource } from "@imgkit/bytes";
      import { defaultVerityParams, type GptTable, type HashName, portableEngine, readGpt, rootHashOf, VerityError } from "@imgkit/verity";
      const source: ByteSource = memorySource(new Uint8Array(4096));
      export const hash: Promise<Uint8Array> = rootHashOf(source, { ...defaultVerityParams, salt: new Uint8Array(0), engine: portableEngine });
      export const table: Promise<GptTable> = readGpt(source).then((read) => read.table);
      export const path = (error: unknown) => (error instanceof VerityError && error.code === "NOT_GPT" ? error.facts.path : undefined);
      // @ts-expect-error: not a hash
      export const none: HashName = "md4";
      // @ts-expect-error: not a source
      export const wrong = rootHashOf("data", defaultVerityParams);\n`,
    );
    write(
      "node.ts",
      `import { defaultVerityParams } from "@imgkit/verity";
      import { type StampResult, stampDisk } from "@imgkit/verity/node";
      export const stamped: Promise<StampResult> = stampDisk("a", "b", { ...defaultVerityParams, salt: new Uint8Array(0), uuid: "" });
      // @ts-expect-error: no target
      export const wrong = stampDisk("a");\n`,
    );
    expect(inApp(process.execPath, tool("typescript", "tsc"), "-p", "tsconfig.json")).toEqual({ status: 0, output: "" });
  });

  /** One script for a browser, by the bundler that vitest brings; it must need nothing from outside. */
  async function bundle(text: string): Promise<string> {
    const vitest = fs.realpathSync(createRequire(import.meta.url).resolve("vitest/package.json"));
    const vite = fs.realpathSync(createRequire(vitest).resolve("vite/package.json"));
    const { rolldown } = await import(pathToFileURL(createRequire(vite).resolve("rolldown")).href);
    const problems: string[] = [];
    const input = write("entry.js", text);
    const build = await rolldown({ input, cwd: app, platform: "browser", onLog: (_level: string, log: { message: string }) => problems.push(log.message) });
    const { output } = await build.generate({ format: "iife", name: "app", minify: true });
    expect(problems).toEqual([]);
    expect(output).toHaveLength(1);
    expect(output[0].imports).toEqual([]);
    return output[0].code;
  }

  test("a bundle that computes a root hash runs without Node, and is under 20 KiB minified and gzipped", async () => {
    const code = await bundle(using);
    // What the language has, and the one thing of the web's that is used.
    const found = await vm.runInNewContext(`${code}\napp.root()`, { TextEncoder });
    expect(found).toBe(expected);
    const size = gzipSync(code, { level: 9 }).length;
    process.stdout.write(`@imgkit/verity, a root hash with the fallback engine: ${code.length} bytes minified, ${size} gzipped\n`);
    expect(size).toBeLessThan(20 * 1024);
  });

  test("everything that @imgkit/verity and @imgkit/bytes export is free of Node's modules", async () => {
    const code = await bundle(`export * as verity from "@imgkit/verity"; export * as bytes from "@imgkit/bytes";`);
    const names = vm.runInNewContext(`${code}\nJSON.stringify([Object.keys(app.verity), Object.keys(app.bytes)])`, { TextEncoder, TextDecoder });
    const [verity, bytes] = JSON.parse(names);
    expect(verity).toEqual(expect.arrayContaining(["buildTree", "verifyTree", "readGpt", "createSimdEngine"]));
    expect(bytes).toContain("memorySource");
  });
});
