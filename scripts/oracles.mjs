// Installs the tools that judge our bytes in tests, where it may: Debian's packages with apt (as root or through sudo), and GNU
// tar 1.35 and ukify from Debian 13 into node_modules/.cache. Without them the tests that ask for them are skipped by name.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isMain, root, run } from "./bootstrap.mjs";

/** What tells that a tool is there, and the Debian packages that have it, of which the first that apt knows is taken. */
const tools = [
  ["/usr/bin/setfacl", "acl"],
  ["/usr/bin/setfattr", "attr"],
  ["/usr/bin/htpasswd", "apache2-utils"],
  ["/usr/bin/buildah", "buildah"],
  ["/bin/busybox", "busybox-static"],
  ["/usr/bin/chromium", "chromium"],
  ["/usr/bin/cpio", "cpio"],
  ["/sbin/veritysetup", "cryptsetup-bin"],
  ["/usr/sbin/debootstrap", "debootstrap"],
  ["/usr/sbin/dockerd", "docker.io"],
  ["/sbin/fsck.vfat", "dosfstools"],
  ["/usr/bin/docker-registry", "docker-registry"],
  ["/sbin/mke2fs", "e2fsprogs"],
  ["/usr/bin/curl", "curl"],
  ["/usr/bin/mkfs.erofs", "erofs-utils"],
  ["/sbin/sfdisk", "fdisk"],
  ["/usr/bin/faketime", "faketime"],
  ["/usr/bin/fish", "fish"],
  ["/sbin/sgdisk", "gdisk"],
  ["/usr/share/gocode/src/github.com/opencontainers/image-spec/schema", "golang-github-opencontainers-image-spec-dev"],
  ["/usr/bin/gcc", "gcc"],
  ["/usr/bin/objcopy", "binutils"],
  ["/usr/bin/sbverify", "sbsigntool"],
  ["/usr/bin/osslsigncode", "osslsigncode"],
  ["/usr/bin/pesign", "pesign"],
  ["/usr/lib/systemd/boot/efi/linuxx64.efi.stub", "systemd-boot-efi"],
  ["/sbin/ip", "iproute2"],
  ["/usr/bin/jq", "jq"],
  ["/usr/bin/bsdtar", "libarchive-tools"],
  ["/usr/bin/lz4", "lz4"],
  ["/usr/bin/mmdebstrap", "mmdebstrap"],
  ["/usr/bin/mcopy", "mtools"],
  ["/usr/bin/mtree", "mtree-netbsd"],
  ["/usr/bin/time", "time"],
  ["/usr/bin/openssl", "openssl"],
  ["/usr/bin/pigz", "pigz"],
  ["/usr/bin/podman", "podman"],
  ["/bin/ps", "procps"],
  ["/usr/bin/python3", "python3"],
  ["/usr/sbin/runc", "runc"],
  ["/usr/bin/qemu-system-x86_64", "qemu-system-x86"],
  ["/usr/bin/qemu-img", "qemu-utils"],
  ["/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"],
  ["/usr/bin/skopeo", "skopeo"],
  ["/usr/bin/mksquashfs", "squashfs-tools"],
  ["/usr/bin/systemd-dissect", "systemd-container"],
  // A package of its own from Debian 13 on.
  ["/usr/bin/systemd-repart", "systemd-repart", "systemd"],
  ["/usr/bin/umoci", "umoci"],
  ["/usr/bin/xxd", "xxd"],
  ["/usr/bin/xz", "xz-utils"],
  ["/usr/bin/zsh", "zsh"],
  ["/usr/bin/zstd", "zstd"],
];

/** What only the tests of a long run ask for: hundreds of megabytes, or file systems to try. */
const longTools = [
  ["/sbin/mkfs.btrfs", "btrfs-progs"],
  ["/sbin/mkfs.xfs", "xfsprogs"],
];

/** What Debian 13 has newer, by the folder of node_modules/.cache/imgkit that it is extracted into: what it is called, and the packages. */
const extracted = [
  // What GNU tar 1.35 needs to start.
  ["tar-1.35", "GNU tar 1.35", "tar,libacl1,libselinux1,libc6,libpcre2-8-0"],
  // Python code, which the host's Python runs, and the stub of the same version.
  ["ukify", "ukify", "systemd-ukify,systemd-boot-efi"],
];

/** Installs what is missing, with `long` for the long tests too; returns one line for each thing that could not be. */
export function installOracles(long = false) {
  return [installPackages(long ? [...tools, ...longTools] : tools), ...extracted.map(extract)].filter((line) => line !== undefined);
}

function installPackages(wanted) {
  const missing = wanted.filter(([file]) => !existsSync(file));
  if (missing.length === 0) return undefined;
  const without = `oracles: without ${names(missing)}`;
  if (!works("apt-get", "--version")) return `${without}: this machine has no apt`;
  const sudo = process.getuid() === 0 ? [] : ["sudo", "-n"];
  if (sudo.length > 0 && !works(...sudo, "true")) return `${without}: apt needs root or a sudo that asks no password`;
  const apt = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];
  console.log(`oracles: installing ${names(missing)}`);
  const updated = failure(...apt, "update");
  if (updated !== undefined) return `${without}: ${updated}`;
  const known = missing.flatMap(([, ...packages]) => packages.find((name) => works("apt-cache", "show", name)) ?? []);
  const failed = failure(...apt, "install", "-y", "--no-install-recommends", ...known);
  const still = missing.filter(([file]) => !existsSync(file));
  return still.length === 0 ? undefined : `oracles: without ${names(still)}: ${failed ?? "no package has it here"}`;
}

function names(missing) {
  return missing.map(([, name]) => name).join(", ");
}

function extract([place, name, packages]) {
  if (place === "tar-1.35" && gnuTarVersion() >= 1.35) return undefined;
  const cache = join(root, "node_modules", ".cache", "imgkit");
  if (existsSync(join(cache, place))) return undefined;
  if (!works("mmdebstrap", "--version")) return `oracles: without ${name}: mmdebstrap is not installed`;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, `${place}-`));
  const failed = failure("mmdebstrap", "--quiet", "--variant=extract", `--include=${packages}`, "trixie", join(folder, "root"));
  if (failed === undefined) renameSync(join(folder, "root"), join(cache, place));
  rmSync(folder, { recursive: true, force: true });
  return failed === undefined ? undefined : `oracles: without ${name}: ${failed}`;
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
  return ok ? undefined : `${command === "sudo" || command === "env" ? "apt-get" : command} failed: ${output.split("\n").at(-1)}`;
}

if (isMain(import.meta.url)) for (const line of installOracles(process.argv.includes("--long"))) console.error(line);
