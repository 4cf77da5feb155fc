// The command as it is published: one program with all that it needs, in a few files that Node reads in a third of the time of the
// packages' many. CommonJS, which Node loads with less ado than modules. What other people wrote in it is named with its licence.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { root } from "./bootstrap.mjs";

const cli = join(root, "packages", "cli");

/**
 * Writes packages/cli/dist/imgkit.cjs, the files that it loads when a command asks for them, and THIRD-PARTY-LICENSES.txt.
 * @throws Error naming what the bundler warned of, or a package that comes without its licence.
 */
async function bundle() {
  const problems = [];
  const build = await rolldown({
    input: { imgkit: join(cli, "src", "main.ts") },
    cwd: root,
    platform: "node",
    external: [/^node:/],
    resolve: { conditionNames: ["@imgkit/source", "import", "node", "default"] },
    onLog: (_level, log) => problems.push(log.message),
  });
  const names = { entryFileNames: "[name].cjs", chunkFileNames: "[name]-[hash].cjs" };
  const { output } = await build.generate({ format: "cjs", comments: false, minify: true, ...names, plugins: [licences()] });
  await build.close();
  if (problems.length > 0) throw new Error(`bundling the command: ${problems.join("\n")}`);
  replaceFiles(join(cli, "dist"), new Map(output.map((file) => [file.fileName, file.type === "chunk" ? file.code : file.source])));
}

/** Only what differs is written, and whole at once: a command may be running meanwhile. */
function replaceFiles(dir, files) {
  mkdirSync(dir, { recursive: true });
  const present = new Set(readdirSync(dir));
  for (const [name, text] of files) {
    const file = join(dir, name);
    if (present.has(name) && readFileSync(file, "utf8") === text) continue;
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }
  for (const name of present) if (name.endsWith(".cjs") && !files.has(name)) rmSync(join(dir, name));
}

/** Adds a file with the licence of each package from elsewhere whose code is in the bundle. */
function licences() {
  return {
    name: "licences",
    generateBundle(_options, output) {
      const modules = Object.values(output).flatMap(({ moduleIds }) => moduleIds ?? []);
      const folders = new Set(modules.map((id) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(id.replaceAll("\\", "/"))?.[0]));
      const texts = [...folders].filter((folder) => folder !== undefined).map(licenceOf);
      this.emitFile({ type: "asset", fileName: "THIRD-PARTY-LICENSES.txt", source: texts.sort().join(`\n${"-".repeat(80)}\n\n`) });
    },
  };
}

function licenceOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((found) => /^licen[cs]e/i.test(found));
  if (file === undefined) throw new Error(`bundling the command: ${name} ${version} comes without its licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
}

await bundle();
