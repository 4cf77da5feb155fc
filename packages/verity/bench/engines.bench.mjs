// `npm run bench engines`: the SHA-256 engines on 64 MiB of 4 KiB blocks with a salt of 32 bytes, in one thread of this process, and in a
// page of headless Chromium.

import { readFileSync } from "node:fs";
import { conditions, interleave, report, runs } from "../../../scripts/bench/measure.mjs";
import { askPage, builtImports, builtModule, pageOf } from "../../../scripts/chromium.mjs";
import { createSimdEngine, portableEngine } from "../dist/index.js";
import { nativeEngine } from "../dist/index.node.js";

const data = Uint8Array.from({ length: 1 << 26 }, (_, i) => (i * 7) ^ (i >> 8));
const blocks = data.length / 4096;
const salt = new Uint8Array(32).fill(0xaa);
const engines = [portableEngine, await createSimdEngine(), nativeEngine].filter((engine) => engine !== undefined);
const digests = Object.fromEntries(engines.map(({ name }) => [name, new Uint8Array(blocks * 32)]));

function contender(engine) {
  const hasher = engine.blockHasher({ hash: "sha256", hashType: 1, salt, blockSize: 4096 });
  return () => hasher.hash(data, 0, blocks, digests[engine.name], 0, 32);
}

console.log(conditions());
const found = interleave(Object.fromEntries(engines.map((engine) => [engine.name, contender(engine)])), {
  after(name) {
    if (Buffer.compare(digests[name], digests[portableEngine.name]) !== 0) throw new Error(`${name}: the digests differ`);
  },
});
const targets = { "wasm-simd": [3, 4] };
report("64 MiB in blocks of 4 KiB, in Node", found, targets);

const resources = { "/": pageOf(builtImports), "/job.js": readFileSync(new URL("engines-page.mjs", import.meta.url)), "/job.json": JSON.stringify({ runs }) };
const { error, ...seconds } = await askPage((path) => resources[path] ?? builtModule(path));
if (error !== undefined) throw new Error(error);
const figures = Object.entries(seconds).map(([name, walls]) => [name, walls.map((wall) => ({ wall, extra: {} }))]);
report("64 MiB in blocks of 4 KiB, in Chromium", Object.fromEntries(figures), targets);
