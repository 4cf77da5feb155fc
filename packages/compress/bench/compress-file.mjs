// One file to another as gzip/1: what bench/gzip.bench.mjs measures. Arguments: input, output, level, number of threads.

import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { gzip } from "../dist/index.node.js";

const [from, to, level, workers] = process.argv.slice(2);
const buffer = new Uint8Array(1 << 18);
const input = openSync(from, "r");
const output = openSync(to, "w");

function* chunks() {
  for (let count = readSync(input, buffer); count > 0; count = readSync(input, buffer)) yield buffer.subarray(0, count);
}

const begin = performance.now();
for await (const chunk of gzip(chunks(), { level, workers: Number(workers) })) {
  for (let done = 0; done < chunk.length; ) done += writeSync(output, chunk, done);
}
closeSync(output);
console.error(JSON.stringify({ seconds: (performance.now() - begin) / 1000 }));
