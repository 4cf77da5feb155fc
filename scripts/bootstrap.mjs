// Makes a fresh clone ready: dependencies from the lock file, then the compiled packages and the command. Installs and compiles nothing where nothing changed.
// Everything in this folder is plain JavaScript for Node 20 that runs before anything is installed.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

export const pnpm = "pnpm@12.21.0";
const minimum = [20, 19];
const stamp = join(root, "node_modules", ".cache", "imgkit", "installed");

/**
 * Installs and builds.
 * @throws Error whose message is what to print, when Node is too old or one of the two fails.
 */
export function bootstrap() {
  requireNode();
  const digest = inputsDigest();
  if (readOr(stamp, "") !== digest) {
    quietly("installing the dependencies", "npx", "-y", pnpm, "install", "--frozen-lockfile");
    mkdirSync(dirname(stamp), { recursive: true });
    writeFileSync(stamp, digest);
  }
  quietly("compiling", process.execPath, tool("typescript", "tsc"), "-b");
  quietly("bundling the command", process.execPath, join(root, "scripts", "bundle.mjs"));
}

/** The file to start with Node for a command of an installed package. */
export function tool(name, command) {
  const folder = join(root, "node_modules", name);
  const { bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return join(folder, typeof bin === "string" ? bin : bin[command]);
}

/** The folders of all workspace packages, from the root. */
export function packageFolders() {
  const packages = readdirSync(join(root, "packages"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...packages.map((entry) => `packages/${entry.name}`).sort(), "fixtures"];
}

/** Whether the module of this URL is what Node was started with; a checkout may be reached through a symbolic link. */
export function isMain(url) {
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(url);
}

function requireNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > minimum[0] || (major === minimum[0] && minor >= minimum[1])) return;
  throw new Error(`imgkit needs Node ${minimum.join(".")} or later; this is ${process.versions.node}. See https://nodejs.org.`);
}

/** What an installation depends on: two equal digests need no second one. */
function inputsDigest() {
  const hash = createHash("sha256").update(`${pnpm} ${process.platform} ${process.arch}\n`);
  const manifests = [".", ...packageFolders()].map((folder) => join(folder, "package.json"));
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", ...manifests]) {
    const text = readOr(join(root, file), "").replaceAll("\r\n", "\n");
    hash.update(`${file.replaceAll("\\", "/")} ${text.length}\n${text}`);
  }
  return hash.digest("hex");
}

function readOr(file, otherwise) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return otherwise;
  }
}

/** Runs a command without showing its output, unless it fails. */
function quietly(what, command, ...args) {
  const { ok, output } = run(command, ...args);
  if (!ok) throw new Error(`${what} failed: ${[command, ...args].join(" ")}\n${output}`);
}

/** Runs a command in the workspace's root to its end: whether it succeeded, and all that it printed. */
export function run(command, ...args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    // npx is a batch file on Windows, which only a shell starts.
    shell: process.platform === "win32" && command === "npx",
  });
  const output = [error?.message, stdout, stderr].filter((text) => text !== undefined && text !== null && text !== "").join("\n");
  return { ok: status === 0, output: output.trimEnd() };
}
