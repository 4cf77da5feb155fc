// `npm run bench oci`: a Debian tree to an OCI layout with one gzip layer, against umoci; the whole job from the tree to the image in a
// registry, against umoci with skopeo and against buildah; and a copy from registry to registry, against skopeo. As root: it reads
// owners and devices.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { debian, debianFolder, debianTar } from "../../../scripts/bench/debian.mjs";
import { conditions, imgkit, interleave, report, withFolder } from "../../../scripts/bench/measure.mjs";
import { withRegistry } from "../../../scripts/bench/registry.mjs";
import { copyJob, pushJob } from "./push-job.mjs";

const folder = debianFolder();
const tail = ["--epoch", "1700000000", "-q", "-o"];

console.log(conditions());
await withFolder((out) => {
  writeFileSync(
    join(out, "peer.sh"),
    `set -e\ncd '${out}'\numoci init --layout umoci\numoci new --image umoci:latest\numoci insert --image umoci:latest '${folder}' /\n`,
  );
  const found = interleave(
    {
      "umoci init, new, insert": ["bash", join(out, "peer.sh")],
      "imgkit image, from the folder": [...imgkit, "image", folder, ...tail, join(out, "folder")],
      "imgkit image --level fast, from the folder": [...imgkit, "image", folder, "--level", "fast", ...tail, join(out, "fast")],
      "imgkit image, from the tar": [...imgkit, "image", debianTar(), ...tail, join(out, "tar")],
    },
    {
      before() {
        for (const name of ["umoci", "folder", "fast", "tar"]) rmSync(join(out, name), { recursive: true, force: true });
      },
    },
  );
  report(debian, found, { "imgkit image, from the folder": [1.3, 2], "imgkit image, from the tar": [1.3, 2] });
  withRegistry(join(out, "here"), (here) => {
    pushJob(out, here);
    withRegistry(join(out, "there"), (there) => copyJob(out, here, there));
  });
});
