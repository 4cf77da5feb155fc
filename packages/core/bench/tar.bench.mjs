// `npm run bench tar`: a Debian root file system to a tar, against GNU tar with the same order and times, bsdtar and tar-stream.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian } from "../../../scripts/bench/debian.mjs";
import { conditions, interleave, table } from "../../../scripts/bench/measure.mjs";

const runs = Number(process.env.RUNS ?? 5);
const { folder } = debian();
const out = mkdtempSync(join(tmpdir(), "imgkit-bench-"));
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const epoch = "1700000000";
const gnu = ["--sort=name", "--format=posix", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", "--numeric-owner"];

try {
  const found = interleave(
    {
      "GNU tar": ["tar", ...gnu, `--mtime=@${epoch}`, "--clamp-mtime", "--xattrs", "--xattrs-include=*", "-C", folder, "-cf", join(out, "gnu.tar"), "."],
      bsdtar: ["bsdtar", "--format=pax", "-C", folder, "-cf", join(out, "bsd.tar"), "."],
      "tar-stream": [process.execPath, path("./tar-stream.mjs"), folder, join(out, "stream.tar")],
      "imgkit rootfs": [process.execPath, path("../../cli/bin/imgkit.js"), "rootfs", folder, "--epoch", epoch, "-q", "-o", join(out, "imgkit.tar")],
      "@imgkit/core": [process.execPath, path("./write-tar.mjs"), folder, epoch, join(out, "library.tar")],
    },
    runs,
  );
  console.log(`${conditions(runs)}; a Debian minbase of 8,700 nodes and 170 MB, from a folder\n\n${table(found)}`);
} finally {
  rmSync(out, { recursive: true, force: true });
}
