// Standard input to standard output as gzip/1, then the peak memory in MiB to standard error: what bench/gzip.mjs measures.

import { readSync, writeSync } from "node:fs";
import { gzip } from "../dist/index.node.js";

const [level, workers] = process.argv.slice(2);
const buffer = new Uint8Array(1 << 18);

function* input() {
  for (let count = readSync(0, buffer); count > 0; count = readSync(0, buffer)) yield buffer.subarray(0, count);
}

for await (const chunk of gzip(input(), { level, workers: Number(workers) })) {
  for (let done = 0; done < chunk.length; ) done += writeSync(1, chunk, done);
}
console.error(process.resourceUsage().maxRSS >> 10);
