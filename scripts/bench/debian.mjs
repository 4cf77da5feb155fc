// A real Debian root file system to measure on: made once by mmdebstrap, kept in node_modules/.cache.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "../bootstrap.mjs";

const cache = join(root, "node_modules", ".cache", "imgkit", "bench");

/** Bookworm minbase (8,700 nodes) as a tar; as root also unpacked to a folder. */
export function debian() {
  const tar = join(cache, "minbase.tar");
  const folder = join(cache, "minbase");
  if (!existsSync(tar)) {
    mkdirSync(cache, { recursive: true });
    execFileSync("mmdebstrap", ["--quiet", "--format=tar", "--variant=minbase", "bookworm", `${tar}.new`], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, SOURCE_DATE_EPOCH: "1700000000" },
    });
    renameSync(`${tar}.new`, tar);
  }
  if (!existsSync(folder)) {
    rmSync(`${folder}.new`, { recursive: true, force: true });
    mkdirSync(`${folder}.new`);
    // mknod of device nodes needs root, and so does everything that reads them as they are.
    execFileSync("tar", ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", `${folder}.new`, "-xpf", tar]);
    renameSync(`${folder}.new`, folder);
  }
  return { tar, folder };
}
