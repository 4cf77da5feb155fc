// `npm run bench verity`: `imgkit verity format` and the library against `veritysetup format`. Without FILES (paths, separated by
// spaces) it makes four: dense noise of 1 GiB and of 165 MiB, a Debian root file system in an erofs, a disk of 4 GiB with 246 MB in it.
// Every hash file is compared with veritysetup's.

import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian } from "../../../scripts/bench/debian.mjs";
import { conditions, interleave, table } from "../../../scripts/bench/measure.mjs";

const runs = Number(process.env.RUNS ?? 7);
const folder = mkdtempSync(join(tmpdir(), "imgkit-bench-"));
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const flags = [`--salt=${"aa".repeat(32)}`, "--uuid=00000000-0000-4000-8000-000000000000"];
const peer = "veritysetup format";
const contenders = {
  [peer]: (data, hash) => ["veritysetup", "format", data, hash, ...flags],
  "imgkit verity format": (data, hash) => [process.execPath, path("../../cli/bin/imgkit.js"), "verity", "format", data, hash, ...flags],
  "@imgkit/verity": (data, hash) => [process.execPath, path("./format-file.mjs"), data, hash],
};

/** A file of `size` bytes: noise in `pieces` runs of together `filled` bytes, holes between them. */
function make(name, size, filled, pieces) {
  const file = join(folder, name);
  const fd = openSync(file, "w");
  ftruncateSync(fd, size);
  const words = new Uint32Array(1 << 18);
  let x = 1;
  for (let piece = 0; piece < pieces; piece++) {
    const start = Math.floor(((size / pieces) * piece) / 4096) * 4096;
    for (let done = 0; done < filled / pieces; done += words.byteLength) {
      for (let i = 0; i < words.length; i++) {
        x ^= x << 13;
        x ^= x >>> 17;
        x ^= x << 5;
        words[i] = x;
      }
      writeSync(fd, words, 0, Math.min(words.byteLength, Math.ceil(filled / pieces) - done), start + done);
    }
  }
  closeSync(fd);
  return file;
}

function rootFileSystem() {
  const file = join(folder, "debian.erofs");
  execFileSync("mkfs.erofs", ["--quiet", "-T1700000000", "-U00000000-0000-4000-8000-000000000000", file, debian().folder], { stdio: "ignore" });
  return file;
}

function bench(data) {
  const hash = (name) => join(folder, `${Object.keys(contenders).indexOf(name)}.hash`);
  const commands = Object.fromEntries(Object.entries(contenders).map(([name, command]) => [name, command(data, hash(name))]));
  const found = interleave(commands, runs, {
    before: (name) => rmSync(hash(name), { force: true }),
    after: (name) => {
      if (!readFileSync(hash(name)).equals(readFileSync(hash(peer)))) throw new Error(`${name}: the hash files of ${data} differ`);
    },
  });
  console.log(`${basename(data)}, ${(statSync(data).size / 1e6).toFixed(0)} MB:\n\n${table(found)}\n`);
}

const makers = [
  () => make("noise", 2 ** 30, 2 ** 30, 1),
  () => make("small-noise", 165 * 2 ** 20, 165 * 2 ** 20, 1),
  rootFileSystem,
  () => make("mostly-empty", 4 * 2 ** 30, 246e6, 64),
];
const given = (process.env.FILES ?? "").split(" ").filter((file) => file !== "");

try {
  console.log(`${conditions(runs)}\n`);
  for (const file of given) bench(file);
  if (given.length === 0) {
    for (const maker of makers) {
      const file = maker();
      bench(file);
      rmSync(file);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
