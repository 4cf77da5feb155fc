// `npm run bench apk`: demands resolved and installed, on the real index of Alpine 3.16 and on a made repository of 300 packages. Debian
// has no apk-tools to run beside: figures only. One package of the real index is at hand, so what is installed by it are stand-ins made
// here, with the names, versions, dependencies and installed sizes that it has.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeCatalogue, parseIndex, resolve } from "@imgkit/apk";
import { conditions, imgkit, interleave, report, withFolder } from "../../../scripts/bench/measure.mjs";
import { root } from "../../../scripts/bootstrap.mjs";
import { writeRepository } from "./repository.mjs";

const program = [process.execPath, fileURLToPath(new URL("./resolve-index.mjs", import.meta.url))];
const build = (out, config) => [...imgkit, "rootfs", `apko:${config}`, "--epoch", "0", "-q", "-o", join(out, "root.tar")];
/** What the database of the tar that was built lists is what was resolved. */
function requireInstalled(out, installed) {
  const database = execFileSync("tar", ["-xOf", join(out, "root.tar"), "./usr/lib/apk/db/installed"], { encoding: "utf8", maxBuffer: 1 << 28 });
  const found = database.match(/^P:.*$/gm) ?? [];
  if (found.join() !== installed.map(({ name }) => `P:${name}`).join()) throw new Error(`not the packages that were resolved: ${found.length}`);
}
const megabytes = (packages) => Math.round(packages.reduce((sum, { installedSize }) => sum + installedSize, 0) / 1e6);

/** Packages of 4 kB to 1 MB, each of which needs up to four of those before it. */
function madePackages(count) {
  return Array.from({ length: count }, (_, i) => ({
    name: `made-${i}`,
    version: `1.${i % 7}-r0`,
    architecture: "x86_64",
    installedSize: 4096 + ((i * 7919) % 97) * 10_000,
    depends: [...new Set([i >> 1, i >> 2, (i * 7) % Math.max(i, 1), Math.max(i - 3, 0)])].filter((j) => j < i).map((j) => `made-${j}>=1`),
    provides: [`so:libmade-${i}.so.1=1.${i % 7}`],
    installIf: [],
  }));
}

async function made(out) {
  const packages = madePackages(300);
  const world = packages.slice(-60).map(({ name }) => name);
  const { config, index, key } = await writeRepository(join(out, "made"), packages, world);
  const installed = resolve(world, makeCatalogue([{ packages }], "x86_64")).map(({ info }) => info);
  const found = interleave({
    "index read and verified": [...program, index, key],
    "and 60 demands resolved": [...program, index, key, ...world],
    "imgkit rootfs apko:, to a tar": build(out, config),
  });
  requireInstalled(out, installed);
  report(`A made repository of ${packages.length} packages; ${installed.length} of them installed, ${megabytes(installed)} MB`, found, {}, { compared: false });
}

async function real(out) {
  const folder = join(dirname(root), "shared", "data", "apk", "alpine-316");
  if (!existsSync(folder)) return console.log(`Alpine's index is not measured: there is no ${folder}\n`);
  const index = join(folder, "APKINDEX.tar.gz");
  const key = join(folder, "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub");
  const text = execFileSync("tar", ["-xzOf", index, "APKINDEX"], { encoding: "utf8", maxBuffer: 1 << 28 });
  const packages = parseIndex(text);
  const world = ["alpine-base", "nginx", "nodejs", "python3"];
  const installed = resolve(world, makeCatalogue([{ packages }], packages[0].architecture)).map(({ info }) => info);
  const standIns = await writeRepository(join(out, "alpine"), installed, world, (files) => {
    const byName = new Map([...files].map(([info, about]) => [`P:${info.name}\nV:${info.version}\n`, about]));
    const change = (paragraph) => {
      const about = byName.get(/^P:.*\nV:.*\n/m.exec(paragraph)?.[0]);
      return about === undefined ? paragraph : paragraph.replace(/^C:.*$/m, `C:${about.checksum}`).replace(/^S:.*$/m, `S:${about.size}`);
    };
    return text.split("\n\n").map(change).join("\n\n");
  });
  const found = interleave({
    "index read and verified": [...program, index, key],
    "and alpine-base resolved": [...program, index, key, "alpine-base"],
    [`and ${world.join(", ")} resolved`]: [...program, index, key, ...world],
    "imgkit rootfs apko:, to a tar, of stand-ins": build(out, standIns.config),
  });
  requireInstalled(out, installed);
  report(`Alpine 3.16, ${packages.length} packages; ${installed.length} of them installed, ${megabytes(installed)} MB`, found, {}, { compared: false });
}

console.log(conditions());
await withFolder(async (out) => {
  await made(out);
  await real(out);
});
