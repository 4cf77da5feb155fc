// A real Debian root file system to measure on: made once by mmdebstrap, kept in node_modules/.cache.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "../bootstrap.mjs";

const cache = join(root, "node_modules", ".cache", "imgkit", "bench");

/** mmdebstrap's variants, and what they are, for a table's title. `DEBIAN` chooses; without it the small one. */
const variants = { minbase: "a Debian minbase of 8,700 nodes and 170 MB", important: "a full Debian of 11,800 nodes and 248 MB" };
const variant = process.env.DEBIAN ?? "minbase";
if (!Object.hasOwn(variants, variant)) throw new Error(`DEBIAN=${variant}: expected ${Object.keys(variants).join(" or ")}`);

export const debian = variants[variant];

/** Bookworm as a tar. */
export function debianTar() {
  const tar = join(cache, `${variant}.tar`);
  if (existsSync(tar)) return tar;
  mkdirSync(cache, { recursive: true });
  execFileSync("mmdebstrap", ["--quiet", "--format=tar", `--variant=${variant}`, "bookworm", `${tar}.new`], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, SOURCE_DATE_EPOCH: "1700000000" },
  });
  renameSync(`${tar}.new`, tar);
  return tar;
}

/** The same unpacked to a folder. */
export function debianFolder() {
  const folder = join(cache, variant);
  if (existsSync(folder)) return folder;
  // mknod of device nodes needs root, and so does everything that reads them as they are.
  if (process.getuid() !== 0) throw new Error("a Debian tree with its owners and devices is unpacked and read by root only: run this benchmark as root");
  const tar = debianTar();
  rmSync(`${folder}.new`, { recursive: true, force: true });
  mkdirSync(`${folder}.new`);
  execFileSync("tar", ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", `${folder}.new`, "-xpf", tar]);
  renameSync(`${folder}.new`, folder);
  return folder;
}
