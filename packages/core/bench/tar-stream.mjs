// FOLDER FILE: the folder as a tar by tar-stream, the way its README packs: one entry after the other, contents at once.

import { createWriteStream, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import tar from "tar-stream";

const [folder, file] = process.argv.slice(2);
const begin = performance.now();
const pack = tar.pack();
const out = pack.pipe(createWriteStream(file));

async function add(path) {
  const stat = lstatSync(join(folder, path));
  const header = { name: path, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, mtime: stat.mtime };
  const entry = (more, content) => new Promise((done, fail) => pack.entry({ ...header, ...more }, content, (error) => (error ? fail(error) : done())));
  if (stat.isDirectory()) {
    if (path !== "") await entry({ type: "directory" });
    for (const name of readdirSync(join(folder, path)).sort()) await add(path === "" ? name : `${path}/${name}`);
  } else if (stat.isSymbolicLink()) await entry({ type: "symlink", linkname: readlinkSync(join(folder, path)) });
  else if (stat.isFile()) await entry({ type: "file" }, readFileSync(join(folder, path)));
}

await add("");
pack.finalize();
await finished(out);
console.error(JSON.stringify({ seconds: (performance.now() - begin) / 1000 }));
