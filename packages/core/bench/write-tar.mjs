// FOLDER EPOCH FILE: the folder as a tar/1 through the library, in a process of its own; says how long the work took.

import { closeSync, openSync, writeSync } from "node:fs";
import { bufferPool } from "@imgkit/bytes";
import { normalise, writeTar } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";

const [folder, epoch, file] = process.argv.slice(2);
const begin = performance.now();
const { tree } = normalise(await readDirectory(folder), { epoch: Number(epoch) });
const { take, give } = bufferPool();
const fd = openSync(file, "w");
for await (const chunk of writeTar(tree, { epoch: Number(epoch), allocate: take })) {
  writeSync(fd, chunk);
  give(chunk);
}
closeSync(fd);
console.error(JSON.stringify({ seconds: (performance.now() - begin) / 1000 }));
