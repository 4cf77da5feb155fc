import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// The house's rules are kept by the compiler and the linter. Each rule is broken here in a copy of @imgkit/bytes, with the
// package's own settings, and must be found; the copy as it is must pass, or these tests would prove nothing.

const root = fileURLToPath(new URL("..", import.meta.url));
let scratch: string;

beforeAll(() => {
  scratch = fs.mkdtempSync(join(os.tmpdir(), "imgkit-house-"));
  for (const path of ["tsconfig.base.json", "biome.json", ".gitignore", "scripts/lint"]) {
    fs.cpSync(join(root, path), join(scratch, path), { recursive: true });
  }
  const bytes = join("packages", "bytes");
  for (const path of ["package.json", "tsconfig.json", "tsconfig.node.json", "src"]) {
    fs.cpSync(join(root, bytes, path), join(scratch, bytes, path), { recursive: true });
  }
  for (const path of ["node_modules", join(bytes, "node_modules")]) fs.symlinkSync(join(root, path), join(scratch, path));
});
afterAll(() => fs.rmSync(scratch, { recursive: true, force: true }));

interface Verdict {
  readonly status: number | null;
  readonly output: string;
}

function start(name: string, command: string, ...args: string[]): Verdict {
  const { bin } = JSON.parse(fs.readFileSync(join(root, "node_modules", name, "package.json"), "utf8"));
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "node_modules", name, bin[command]), ...args], {
    cwd: scratch,
    encoding: "utf8",
  });
  return { status, output: stdout + stderr };
}

const compile = (): Verdict => start("typescript", "tsc", "-b", "packages/bytes", "packages/bytes/tsconfig.node.json");
const lint = (): Verdict => start("@biomejs/biome", "biome", "lint", "--error-on-warnings", "packages");

/** What a tool says with one more file in the package. */
function withFile(name: string, text: string, judge: () => Verdict): Verdict {
  const path = join(scratch, "packages", "bytes", "src", name);
  fs.mkdirSync(dirname(path), { recursive: true });
  fs.writeFileSync(path, text);
  try {
    return judge();
  } finally {
    fs.rmSync(path);
  }
}

describe("a wrong import fails the build", () => {
  test("the package as it is compiles and passes the linter", () => {
    expect(compile()).toEqual({ status: 0, output: "" });
    expect(lint()).toMatchObject({ status: 0 });
  });

  test.each(["compress", "core", "verity", "oci", "disk", "cli"])("tsc: @imgkit/%s, which stands above @imgkit/bytes, does not resolve in it", (above) => {
    const verdict = withFile("wrong.ts", `import * as above from "@imgkit/${above}";\nexport const used: unknown = above;\n`, compile);
    expect(verdict.output).toMatch(new RegExp(`wrong\\.ts.* error TS2307: Cannot find module '@imgkit/${above}'`));
    expect(verdict.status).not.toBe(0);
  });

  test.each<[rule: string, text: string, message: RegExp]>([
    ["node:fs in a file that runs in a browser", 'import { readFileSync } from "node:fs";\nexport const a: unknown = readFileSync;\n', /TS2591|TS2307/],
    ["a *.node.ts file imported by one that is none", 'import { openFile } from "./file.node.ts";\nexport const a: unknown = openFile;\n', /TS6307/],
    ["process in a file that runs in a browser", "export const a: unknown = process.env;\n", /TS2591|TS2580|TS2304/],
    ["an export without a type", "export const a = [1].map((n) => n);\n", /TS9010|TS90\d\d/],
    ["an enum, which is no erasable syntax", "export enum A {\n  B,\n}\n", /TS1294/],
  ])("tsc: %s", (_, text, message) => {
    const verdict = withFile("wrong.ts", text, compile);
    expect(verdict.output).toMatch(message);
    expect(verdict.output).toMatch(/wrong\.ts/);
    expect(verdict.status).not.toBe(0);
  });

  test.each<[rule: string, text: string, message: RegExp]>([
    ["node:fs", 'import { readFileSync } from "node:fs";\nexport const a: unknown = readFileSync;\n', /noNodejsModules/],
    ["another package's Node half", 'import { openFile } from "@imgkit/bytes/node";\nexport const a: unknown = openFile;\n', /noRestrictedImports/],
    ["a package that the manifest does not name", 'import fc from "fast-check";\nexport const a: unknown = fc;\n', /noUndeclaredDependencies/],
    ["process.env", "export const a: unknown = process.env;\n", /noRestrictedGlobals/],
    ["Buffer", "export const a: unknown = Buffer;\n", /noRestrictedGlobals/],
    ["crypto", "export const a: unknown = crypto.getRandomValues(new Uint8Array(1));\n", /noRestrictedGlobals/],
    ["Date.now()", "export const a: number = Date.now();\n", /noRestrictedGlobals/],
    ["new Date()", "export const a: unknown = new Date();\n", /noRestrictedGlobals/],
    ["performance.now()", "export const a: number = performance.now();\n", /noRestrictedGlobals/],
    ["Math.random()", "export const a: number = Math.random();\n", /no Math\.random here/],
    ["localeCompare", 'export const a: number = "a".localeCompare("b");\n', /no localeCompare|compareNames/],
    ["toLocaleString", "export const a: string = (1).toLocaleString();\n", /no toLocaleString here/],
    ["Intl", 'export const a: unknown = new Intl.NumberFormat("en");\n', /noRestrictedGlobals/],
    ["console", 'console.log("a");\n', /noConsole/],
    ["export *", 'export * from "./hex.ts";\n', /noReExportAll|noBarrelFile/],
  ])("biome: %s in a file that runs in a browser", (_, text, message) => {
    const verdict = withFile("wrong.ts", text, lint);
    expect(verdict.output).toMatch(message);
    expect(verdict.output).toMatch(/wrong\.ts/);
    expect(verdict.status).not.toBe(0);
  });

  test("biome: a circle of imports", () => {
    const one = 'import { b } from "./wrong-b.ts";\nexport const a: unknown = b;\n';
    const other = 'import { a } from "./wrong-a.ts";\nexport const b: unknown = a;\n';
    const verdict = withFile("wrong-a.ts", one, () => withFile("wrong-b.ts", other, lint));
    expect(verdict.output).toMatch(/noImportCycles/);
    expect(verdict.status).not.toBe(0);
  });

  test("what a *.node.ts file may do is not forbidden with it", () => {
    const text = 'import { readFileSync } from "node:fs";\nexport const a: unknown = [readFileSync, process.env, Buffer.alloc(1), Date.now()];\n';
    expect(withFile("right.node.ts", text, compile)).toEqual({ status: 0, output: "" });
    expect(withFile("right.node.ts", text, lint)).toMatchObject({ status: 0 });
  });
});

/** The floors of the house: what each package may name itself; what those may use, it may use too. */
const floors: Readonly<Record<string, readonly string[]>> = {
  "@imgkit/bytes": ["@noble/hashes"],
  "@imgkit/compress": ["@imgkit/bytes", "fflate"],
  "@imgkit/core": ["@imgkit/bytes", "@imgkit/compress", "tar-stream"],
  "@imgkit/verity": ["@imgkit/bytes"],
  "@imgkit/apk": ["@imgkit/core"],
  "@imgkit/oci": ["@imgkit/core", "@imgkit/compress", "undici"],
  "@imgkit/disk": ["@imgkit/core", "@imgkit/compress", "@imgkit/verity"],
  "@imgkit/attest": ["@imgkit/apk", "@imgkit/oci", "@imgkit/disk", "asn1js"],
  "@imgkit/cli": ["@imgkit/attest", "commander", "yaml"],
  "@imgkit/fixtures": ["@imgkit/core", "fast-check"],
};

function allowed(name: string): Set<string> {
  const below = floors[name] ?? [];
  return new Set(below.flatMap((one) => [one, ...allowed(one)]));
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly type?: string;
  readonly private?: boolean;
  readonly description?: string;
  readonly engines?: { readonly node?: string };
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** What the code of a package imports. The command's is all in its bundle, so an installation has no use for what it was made from. */
function imported(manifest: Manifest): Readonly<Record<string, string>> {
  return { ...(manifest.name === "@imgkit/cli" ? manifest.devDependencies : manifest.dependencies) };
}

function readJson<T>(...path: string[]): T {
  return JSON.parse(fs.readFileSync(join(root, ...path), "utf8"));
}

const folders = [...fs.readdirSync(join(root, "packages")).map((name) => `packages/${name}`), "fixtures"].filter((folder) =>
  fs.existsSync(join(root, folder, "package.json")),
);
const manifests = folders.map((folder): [string, Manifest] => [folder, readJson<Manifest>(folder, "package.json")]);

describe("packages", () => {
  test.each(manifests)("%s names only what stands below it", (_, manifest) => {
    const { name, peerDependencies, optionalDependencies } = manifest;
    expect(Object.keys(floors)).toContain(name);
    const named = Object.keys({ ...imported(manifest), ...peerDependencies, ...optionalDependencies });
    expect(named.filter((one) => !allowed(name).has(one))).toEqual([]);
  });

  test.each(manifests)("%s: the compiler's references are the package's dependencies", (folder, manifest) => {
    const below = Object.keys(imported(manifest)).flatMap((name) => manifests.filter(([, other]) => other.name === name).map(([place]) => place));
    const halves = (place: string): string[] => [place, ...(fs.existsSync(join(root, place, "tsconfig.node.json")) ? [`${place}/tsconfig.node.json`] : [])];
    const node = below.flatMap(halves);
    const hasNode = halves(folder).length === 2;
    expect(references(folder, "tsconfig.json")).toEqual((hasNode ? below : node).sort());
    if (hasNode) expect(references(folder, "tsconfig.node.json")).toEqual([folder, ...node].sort());
  });

  test("the workspace compiles every half of every package", () => {
    const all = folders.flatMap((folder) =>
      fs
        .readdirSync(join(root, folder))
        .filter((name) => /^tsconfig.*\.json$/.test(name))
        .map((name) => (name === "tsconfig.json" ? folder : `${folder}/${name}`)),
    );
    expect(references(".", "tsconfig.json")).toEqual(all.sort());
  });

  test.each([[".", readJson<Manifest>("package.json")] as [string, Manifest], ...manifests])("%s runs no code when it is installed", (_, { scripts = {} }) => {
    const hooks = ["preinstall", "install", "postinstall", "prepare", "preprepare", "postprepare", "prepublish", "prepack", "postpack"];
    expect(Object.keys(scripts).filter((name) => hooks.includes(name))).toEqual([]);
  });

  test.each(manifests)("%s says its licence, its Node, its kind of modules and what it is", (folder, manifest) => {
    expect(manifest).toMatchObject({ license: "Apache-2.0", type: "module", engines: { node: ">=20.19" } });
    expect(manifest.description).toMatch(/^\S.{20,}[^.]$/);
    expect(manifest.private).toBe(folder === "fixtures" || folder === "packages/web" ? true : undefined);
  });

  test("all published packages have one version, the workspace's Node is the packages', and its licence is here", () => {
    expect(new Set(manifests.filter(([, manifest]) => manifest.private !== true).map(([, manifest]) => manifest.version)).size).toBe(1);
    expect(readJson<Manifest>("package.json").engines).toEqual({ node: ">=20.19" });
    expect(fs.readFileSync(join(root, "LICENSE"), "utf8")).toContain("Apache License");
  });
});

/** What a tsconfig refers to, as paths from the workspace's root. */
function references(folder: string, file: string): string[] {
  const { references = [] } = readJson<{ references?: { path: string }[] }>(folder, file);
  return references.map(({ path }) => join(folder, path).replaceAll("\\", "/").replace(/\/$/, "")).sort();
}
