// `npm run bench oci`: a Debian tree to an OCI layout with one gzip layer, against umoci (as root: it reads owners and devices).

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian } from "../../../scripts/bench/debian.mjs";
import { conditions, interleave, table } from "../../../scripts/bench/measure.mjs";

const runs = Number(process.env.RUNS ?? 5);
const { tar, folder } = debian();
const out = mkdtempSync(join(tmpdir(), "imgkit-bench-"));
const imgkit = [process.execPath, fileURLToPath(new URL("../../cli/bin/imgkit.js", import.meta.url)), "image"];

try {
  writeFileSync(
    join(out, "peer.sh"),
    `set -e\ncd '${out}'\numoci init --layout umoci\numoci new --image umoci:latest\numoci insert --image umoci:latest '${folder}' /\n`,
  );
  const found = interleave(
    {
      "umoci init, new, insert": ["bash", join(out, "peer.sh")],
      "imgkit image, from the folder": [...imgkit, folder, "--epoch", "1700000000", "-q", "-o", join(out, "folder")],
      "imgkit image, from the tar": [...imgkit, tar, "--epoch", "1700000000", "-q", "-o", join(out, "tar")],
    },
    runs,
    {
      before() {
        for (const name of ["umoci", "folder", "tar"]) rmSync(join(out, name), { recursive: true, force: true });
      },
    },
  );
  console.log(`${conditions(runs)}; a Debian minbase of 8,700 nodes and 170 MB\n\n${table(found)}`);
} finally {
  rmSync(out, { recursive: true, force: true });
}
