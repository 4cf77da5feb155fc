// Installs the tools that judge our bytes in tests, where it may: Debian's packages with apt (as root or through sudo), and GNU
// tar 1.35 from Debian 13 into node_modules/.cache. Without them the tests that ask for them are skipped by name.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./bootstrap.mjs";

/** Debian package → a file that it installs, looked up before apt is asked anything. */
const packages = {
  acl: "/usr/bin/setfacl",
  attr: "/usr/bin/setfattr",
  "cryptsetup-bin": "/sbin/veritysetup",
  e2fsprogs: "/sbin/mke2fs",
  "erofs-utils": "/usr/bin/mkfs.erofs",
  fdisk: "/sbin/sfdisk",
  gdisk: "/sbin/sgdisk",
  "golang-github-opencontainers-image-spec-dev": "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema",
  "libarchive-tools": "/usr/bin/bsdtar",
  mmdebstrap: "/usr/bin/mmdebstrap",
  pigz: "/usr/bin/pigz",
  skopeo: "/usr/bin/skopeo",
  "squashfs-tools": "/usr/bin/mksquashfs",
  "systemd-container": "/usr/bin/systemd-dissect",
  umoci: "/usr/bin/umoci",
  "xz-utils": "/usr/bin/xz",
  zstd: "/usr/bin/zstd",
};

/** What GNU tar 1.35 needs to start, from Debian 13. */
const tarPackages = "tar,libacl1,libselinux1,libc6,libpcre2-8-0";

/** Installs what is missing; returns one line for each thing that could not be. */
export function installOracles() {
  return [installPackages(), installTar()].filter((line) => line !== undefined);
}

function installPackages() {
  const missing = Object.entries(packages).flatMap(([name, file]) => (existsSync(file) ? [] : [name]));
  if (missing.length === 0) return undefined;
  const without = `oracles: without ${missing.join(", ")}`;
  if (!works("apt-get", "--version")) return `${without}: this machine has no apt`;
  const sudo = process.getuid() === 0 ? [] : ["sudo", "-n"];
  if (sudo.length > 0 && !works(...sudo, "true")) return `${without}: apt needs root or a sudo that asks no password`;
  const apt = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];
  console.log(`oracles: installing ${missing.join(", ")}`);
  for (const step of [["update"], ["install", "-y", "--no-install-recommends", ...missing]]) {
    const failed = failure(...apt, ...step);
    if (failed !== undefined) return `${without}: ${failed}`;
  }
  return undefined;
}

function installTar() {
  if (gnuTarVersion() >= 1.35) return undefined;
  const cache = join(root, "node_modules", ".cache", "imgkit");
  const place = join(cache, "tar-1.35");
  if (existsSync(place)) return undefined;
  if (!works("mmdebstrap", "--version")) return "oracles: without GNU tar 1.35: mmdebstrap is not installed";
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "tar-"));
  const failed = failure("mmdebstrap", "--quiet", "--variant=extract", `--include=${tarPackages}`, "trixie", join(folder, "root"));
  if (failed === undefined) renameSync(join(folder, "root"), place);
  rmSync(folder, { recursive: true, force: true });
  return failed === undefined ? undefined : `oracles: without GNU tar 1.35: ${failed}`;
}

function gnuTarVersion() {
  return Number(/^tar \(GNU tar\) (\d+\.\d+)/.exec(run("tar", "--version").output)?.[1] ?? 0);
}

function works(command, ...args) {
  return run(command, ...args).ok;
}

/** Runs a command; what it said last when it fails. */
function failure(command, ...args) {
  const { ok, output } = run(command, ...args);
  return ok ? undefined : `${command} failed: ${output.split("\n").at(-1)}`;
}

if (import.meta.filename === process.argv[1]) for (const line of installOracles()) console.error(line);
