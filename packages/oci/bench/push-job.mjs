// The jobs that end in a registry. Each run begins with an empty one: what a registry has is not sent.

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { debian, debianFolder, debianTar } from "../../../scripts/bench/debian.mjs";
import { imgkit, interleave, report } from "../../../scripts/bench/measure.mjs";
import { inspect, requireEqual } from "../../../scripts/bench/registry.mjs";

const quote = (words) => words.map((word) => `'${word}'`).join(" ");

/** What each contender calls its image, and how it makes and pushes it in a folder of its own. */
function scripts(host) {
  const ours = (source) => `${quote([...imgkit, "image", source, "--epoch", "1700000000", "-q", "-o", "layout"])}
${quote([...imgkit, "push", "-q", "layout:latest"])}`;
  // buildah's own way to keep owners: what it copies from a folder becomes root's, what it unpacks from a tar does not.
  const buildah = "buildah --root storage --runroot run --storage-driver vfs";
  return {
    "umoci init, new, insert + skopeo copy": `umoci init --layout layout
umoci new --image layout:latest
umoci insert --image layout:latest '${debianFolder()}' /
skopeo copy -q --dest-tls-verify=false oci:layout:latest docker://${host}/umoci:latest`,
    "buildah from, add (the tar), commit, push": `container=$(${buildah} from scratch)
${buildah} add -q "$container" '${debianTar()}' /
${buildah} commit -q --rm "$container" bench
${buildah} push -q --tls-verify=false bench docker://${host}/buildah:latest`,
    "imgkit image + push, from the folder": `${ours(debianFolder())} ${host}/folder:latest`,
    "imgkit image + push, from the tar": `${ours(debianTar())} ${host}/tar:latest`,
  };
}

const repositories = ["umoci", "buildah", "folder", "tar"];

/** A tree to an image that is in a registry. What was pushed last is unpacked and held against the tree, for every contender. */
export function pushJob(out, { host, clear }) {
  const work = join(out, "work");
  const commands = {};
  const repositoryOf = {};
  for (const [i, [name, script]] of Object.entries(scripts(host)).entries()) {
    const file = join(out, `${repositories[i]}.sh`);
    writeFileSync(file, `set -e\ncd '${work}'\n${script}\n`);
    commands[name] = ["bash", file];
    repositoryOf[name] = `${host}/${repositories[i]}:latest`;
  }
  const checked = new Set();
  const found = interleave(commands, {
    before() {
      clear();
      rmSync(work, { recursive: true, force: true });
      mkdirSync(work);
    },
    after(name) {
      const { bytes } = inspect(repositoryOf[name]);
      // In the round that does not count.
      if (!checked.has(name)) requireEqual(repositoryOf[name], debianFolder(), out);
      checked.add(name);
      return { "layer bytes": bytes };
    },
  });
  rmSync(work, { recursive: true, force: true });
  const must = [1.3, 2];
  const targets = { "imgkit image + push, from the folder": must, "imgkit image + push, from the tar": must };
  report(`${debian}, to an image in a registry`, found, targets);
}

/** An image from one registry to another that has nothing of it; the digest stays. */
export function copyJob(out, source, target) {
  const image = join(out, "image");
  const from = `${source.host}/image:latest`;
  source.clear();
  execFileSync(imgkit[0], [...imgkit.slice(1), "image", debianTar(), "--epoch", "1700000000", "-q", "-o", image]);
  execFileSync(imgkit[0], [...imgkit.slice(1), "push", "-q", `${image}:latest`, from]);
  const { digest } = inspect(from);
  const tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
  const found = interleave(
    {
      "skopeo copy": ["skopeo", "copy", "-q", ...tls, `docker://${from}`, `docker://${target.host}/copy:latest`],
      "imgkit copy": [...imgkit, "copy", "-q", `docker://${from}`, `docker://${target.host}/copy:latest`],
    },
    {
      before: target.clear,
      after(name) {
        if (inspect(`${target.host}/copy:latest`).digest !== digest) throw new Error(`${name}: not the digest ${digest}`);
      },
    },
  );
  report("An image of a Debian minbase, 59 MB, from registry to registry", found);
}
