// `npm run bench verity`: `imgkit verity format` and the library against `veritysetup format`, without and with parity, on files that it
// makes or, with FILES (paths, separated by spaces), on those. Every hash file and every parity is compared with veritysetup's.

import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian, debianFolder } from "../../../scripts/bench/debian.mjs";
import { conditions, imgkit, interleave, report, withFolder } from "../../../scripts/bench/measure.mjs";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const flags = [`--salt=${"aa".repeat(32)}`, "--uuid=00000000-0000-4000-8000-000000000000"];
const library = fileURLToPath(new URL("./format-file.mjs", import.meta.url));

// OpenSSL, here and there, then does without the CPU's SHA instructions.
const withoutShaNi = ["env", "OPENSSL_ia32cap=:~0x20000000"];

/** What is measured: how the data are made, and the targets of the command and of the library inside its process. */
const cases = [
  { title: "1 GiB of noise", make: noise(GIB), command: [1.5, 1.8] },
  { title: "1 GiB of noise, without SHA-NI", make: noise(GIB), command: [1.8, 2.6], prefix: withoutShaNi },
  { title: "4 GiB of noise", make: noise(4 * GIB), command: [1.8, 2.2] },
  { title: "4 GiB with 246 MB in it", make: noise(4 * GIB, 246e6, 64), command: [6, 12] },
  { title: "165 MiB of noise", make: noise(165 * MIB), command: [0.7, 0.85], inside: [1.2, 1.4] },
  { title: "256 MiB of noise, with parity of 2 roots", make: noise(256 * MIB), roots: 2 },
  { title: "256 MiB of noise, with parity of 24 roots", make: noise(256 * MIB), roots: 24 },
  { title: `An EROFS of ${debian}`, make: erofs },
];

function erofs(file) {
  execFileSync("mkfs.erofs", ["--quiet", "-T1700000000", "-U00000000-0000-4000-8000-000000000000", file, debianFolder()], { stdio: "ignore" });
}

/** Makes a file of `size` bytes: noise in `pieces` runs of together `filled` bytes, holes between them. */
function noise(size, filled = size, pieces = 1) {
  return (file) => writeNoise(openSync(file, "w"), size, filled, pieces);
}

function writeNoise(fd, size, filled, pieces) {
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
}

async function bench({ title, file, make, command, inside, roots, prefix = [] }) {
  await withFolder((out) => {
    const data = file ?? join(out, "data");
    make?.(data);
    const hash = (name) => join(out, `${name.replaceAll(/\W/g, "-")}.hash`);
    const parity = (name) => `${hash(name)}.fec`;
    const all = (name) => [data, hash(name), ...flags, ...(roots === undefined ? [] : [`--fec-device=${parity(name)}`, `--fec-roots=${roots}`])];
    const written = (name) => (roots === undefined ? [hash(name)] : [hash(name), parity(name)]);
    const found = interleave(
      {
        veritysetup: [...prefix, "veritysetup", "format", ...all("veritysetup")],
        "imgkit verity format": [...prefix, ...imgkit, "verity", "format", ...all("imgkit verity format")],
        ...(roots === undefined ? { "@imgkit/verity": [...prefix, process.execPath, library, data, hash("@imgkit/verity")] } : {}),
      },
      {
        before(name) {
          for (const path of written(name)) rmSync(path, { force: true });
        },
        after(name) {
          const theirs = written("veritysetup");
          written(name).forEach((path, i) => {
            if (!readFileSync(path).equals(readFileSync(theirs[i]))) throw new Error(`${name}: ${i === 0 ? "the hash file" : "the parity"} differs`);
          });
        },
      },
    );
    const targets = { "imgkit verity format": command, "@imgkit/verity, without Node's start": inside };
    report(`${title}, ${Math.round(statSync(data).size / 1e6)} MB`, found, command === undefined ? {} : targets);
  });
}

const given = (process.env.FILES ?? "").split(" ").filter((file) => file !== "");
console.log(conditions());
for (const one of given.length > 0 ? given.map((file) => ({ title: basename(file), file })) : cases) await bench(one);
