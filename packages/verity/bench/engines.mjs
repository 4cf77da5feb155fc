// `node packages/verity/bench/engines.mjs [RUNS]`, after a build: the engines on 64 MiB of 4 KiB blocks with a salt of 32 bytes, one thread,
// runs interleaved; medians of MB per second of CPU time.

import { createSimdEngine, portableEngine } from "../dist/index.js";
import { nativeEngine } from "../dist/index.node.js";

const [runs = "5"] = process.argv.slice(2);
const data = Uint8Array.from({ length: 1 << 26 }, (_, i) => (i * 7) ^ (i >> 8));
const engines = [portableEngine, await createSimdEngine(), nativeEngine].filter((e) => e !== undefined);
const found = engines.map(() => []);
const digests = engines.map(() => new Uint8Array(data.length / 128));
for (let run = 0; run < Number(runs); run++) {
  engines.forEach((engine, i) => {
    const hasher = engine.blockHasher({ hash: "sha256", hashType: 1, salt: new Uint8Array(32).fill(0xaa), blockSize: 4096 });
    const { user } = process.cpuUsage();
    hasher.hash(data, 0, data.length / 4096, digests[i], 0, 32);
    found[i].push(data.length / (process.cpuUsage().user - user));
  });
}
if (digests.some((d) => Buffer.compare(d, digests[0]) !== 0)) throw new Error("the engines disagree");
engines.forEach((engine, i) => {
  console.log(`${engine.name}: ${found[i].toSorted((a, b) => a - b)[found[i].length >> 1].toFixed(0)} MB/s`);
});
