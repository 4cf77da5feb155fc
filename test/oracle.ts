import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "vitest";

// An oracle is a tool of the field that judges our bytes: veritysetup, sgdisk, GNU tar. A machine need not have them. A
// test that asks for one is skipped by name, with the reason, where it is missing; with CI=true it fails instead, so that
// no green run ever means "nobody looked".

/** Where `scripts/oracles.mjs` puts what it extracts for tests alone. */
const cache = fileURLToPath(new URL("../node_modules/.cache/imgkit/", import.meta.url));

/** Where Debian puts the JSON schemas of image-spec. */
export const imageSpecSchemas = "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema";

/** Oracles that need more than a name on the PATH: each says why it is missing, or nothing. */
const special: Readonly<Record<string, () => string | undefined>> = {
  "tar-1.35": () => (gnuTar135() === undefined ? "GNU tar 1.35 is not installed" : undefined),
  ovmf: () => (existsSync("/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd") ? undefined : "ovmf is not installed"),
  "busybox-static": () => (existsSync("/bin/busybox") ? undefined : "busybox-static is not installed"),
  "systemd-stub": () => (existsSync("/usr/lib/systemd/boot/efi/linuxx64.efi.stub") ? undefined : "systemd-boot-efi is not installed"),
  ukify: () => (ukify() === undefined ? "ukify of systemd 257 is not extracted, or python3 is not installed" : undefined),
  "image-spec": () => (existsSync(imageSpecSchemas) ? undefined : "golang-github-opencontainers-image-spec-dev is not installed"),
  "/dev/full": () => (existsSync("/dev/full") ? undefined : "this machine has no /dev/full"),
  loop: () => (runs("losetup", "--find") ? undefined : "this machine offers no loop device"),
  mmdebstrap: () => {
    if (!onPath("mmdebstrap")) return "mmdebstrap is not installed";
    const able = isRoot() || runs("unshare", "--user", "--map-auto", "true");
    return able ? undefined : "mmdebstrap needs root, or user namespaces and subordinate ids";
  },
};

const found = new Map<string, string | undefined>();

/**
 * Vitest's `test` when each of these tools is on the PATH and can work here, otherwise a test that is skipped with the
 * reason in its name, or that fails when `CI` is `true`.
 */
export function oracle(...tools: string[]): typeof test {
  return judged(tools.map(missing));
}

/** As `oracle`, for tests that also need root: mounts, devices, other owners. */
export function oracleRoot(...tools: string[]): typeof test {
  return judged([isRoot() ? undefined : "not run as root", ...tools.map(missing)]);
}

/**
 * How to start GNU tar 1.35 or later: the host's, or the one that `scripts/oracles.mjs` extracted from Debian 13. To be
 * followed by tar's arguments; `undefined` where neither is there.
 */
export function gnuTar135(): [string, ...string[]] | undefined {
  if (version("tar") >= 1.35) return ["tar"];
  const usr = join(cache, "tar-1.35", "usr");
  for (const triplet of list(join(usr, "lib")).filter((name) => name.endsWith("-linux-gnu"))) {
    const libraries = join(usr, "lib", triplet);
    const loader = list(libraries).find((name) => name.startsWith("ld-linux"));
    // Debian 13's tar needs Debian 13's C library, so that library's own loader starts it.
    if (loader !== undefined) return [join(libraries, loader), "--library-path", libraries, join(usr, "bin", "tar")];
  }
  return undefined;
}

/**
 * ukify of systemd 257, the stub of the same version, and the environment that its Python code needs: what `scripts/oracles.mjs` extracted
 * from Debian 13.
 */
export function ukify():
  | { readonly command: readonly [string, ...string[]]; readonly stub: string; readonly env: Readonly<Record<string, string>> }
  | undefined {
  const usr = join(cache, "ukify", "usr");
  const stub = join(usr, "lib", "systemd", "boot", "efi", "linuxx64.efi.stub");
  // Debian's Python: another one need not have the standard library whole.
  const python = "/usr/bin/python3";
  if (!existsSync(stub) || !existsSync(python)) return undefined;
  return {
    command: [python, join(usr, "bin", "ukify")],
    stub,
    env: { PYTHONPATH: join(usr, "lib", "python3", "dist-packages"), PYTHONDONTWRITEBYTECODE: "1" },
  };
}

/** Vitest's `test` in a long run (`npm run test:long`), otherwise a test that is skipped by name. */
export function long(): typeof test {
  return process.env.IMGKIT_LONG === "1" ? test : skipped("only in npm run test:long");
}

/** Vitest's `test` where files have owners and permission bits, otherwise a test that is skipped by name. */
export function posix(): typeof test {
  return process.platform === "win32" ? skipped("Windows has no such permissions") : test;
}

/** Vitest's `test` where V8 can be told to have no 128-bit vectors, otherwise a test that is skipped by name. */
export function withoutVectors(): typeof test {
  return process.arch === "x64" ? test : skipped("only on x64 can V8 be without vectors");
}

function judged(reasons: readonly (string | undefined)[]): typeof test {
  const reason = reasons.filter((one) => one !== undefined).join(", ");
  if (reason === "") return test;
  if (process.env.CI !== "true") return skipped(reason);
  return standIn((name) =>
    test(name, () => {
      throw new Error(`${reason}, and with CI=true a missing oracle fails; scripts/oracles.mjs installs them on Debian`);
    }),
  );
}

function skipped(reason: string): typeof test {
  return standIn((name) => test.skip(`${name} [skipped: ${reason}]`, () => undefined));
}

/** What takes the place of `test` in all the forms in which our tests call it. */
function standIn(report: (name: string) => void): typeof test {
  const call = (name: string): void => report(name);
  const each = () => call;
  return Object.assign(call, { each, for: each }) as unknown as typeof test;
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function missing(tool: string): string | undefined {
  if (!found.has(tool)) found.set(tool, (special[tool] ?? (() => (onPath(tool) ? undefined : `${tool} is not installed`)))());
  return found.get(tool);
}

function onPath(tool: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function runs(tool: string, ...args: string[]): boolean {
  try {
    execFileSync(tool, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The version that a GNU tool prints, as a number such as 1.35; 0 for another tool or none. */
function version(tool: string): number {
  try {
    const line = execFileSync(tool, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return Number(/^\S+ \(GNU [^)]+\) (\d+\.\d+)/.exec(line)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
