// `npm run bench tar`: a Debian root file system to a tar, against GNU tar with the same order and times, bsdtar and tar-stream.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian, debianFolder } from "../../../scripts/bench/debian.mjs";
import { conditions, imgkit, interleave, report, withFolder } from "../../../scripts/bench/measure.mjs";

const folder = debianFolder();
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const epoch = "1700000000";
const gnu = ["--sort=name", "--format=posix", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", "--numeric-owner"];

console.log(conditions());
await withFolder((out) => {
  const found = interleave({
    "GNU tar": ["tar", ...gnu, `--mtime=@${epoch}`, "--clamp-mtime", "--xattrs", "--xattrs-include=*", "-C", folder, "-cf", join(out, "gnu.tar"), "."],
    bsdtar: ["bsdtar", "--format=pax", "-C", folder, "-cf", join(out, "bsd.tar"), "."],
    "tar-stream": [process.execPath, path("./tar-stream.mjs"), folder, join(out, "stream.tar")],
    "imgkit rootfs -q": [...imgkit, "rootfs", folder, "--epoch", epoch, "-q", "-o", join(out, "imgkit.tar")],
    "imgkit rootfs, which prints the digest": [...imgkit, "rootfs", folder, "--epoch", epoch, "--no-progress", "-o", join(out, "digested.tar")],
    "@imgkit/core": [process.execPath, path("./write-tar.mjs"), folder, epoch, join(out, "library.tar")],
  });
  report(`${debian}, from a folder`, found, { "imgkit rootfs -q": [0.5, 0.5], "@imgkit/core, without Node's start": [0.8, 1] });
});
