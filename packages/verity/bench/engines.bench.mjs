// `npm run bench engines`: the SHA-256 engines on 64 MiB of 4 KiB blocks with a salt of 32 bytes, in one thread of this process.

import { conditions, interleave, report } from "../../../scripts/bench/measure.mjs";
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
report("64 MiB in blocks of 4 KiB", found, { "wasm-simd": [3, 4] });
