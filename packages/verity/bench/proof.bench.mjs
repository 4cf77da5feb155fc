// `npm run bench proof`: sizes of proofs, and the time that verifying one takes, on trees over noise of several sizes.

import { memorySource } from "@imgkit/bytes";
import { conditions } from "../../../scripts/bench/measure.mjs";
import { buildTree, decodeProof, encodeProof, makeProof, portableEngine, verifyProof } from "../dist/index.js";
import { nativeEngine } from "../dist/index.node.js";

const params = { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: new Uint8Array(32).fill(0xaa), superblock: false };
const MIB = 2 ** 20;
const REPEAT = 100;

/** A source of noise that takes no memory: block by block, from its number. */
function noise(size) {
  return {
    size,
    read(start, end) {
      const out = new Uint8Array(end - start);
      const words = new Uint32Array(1024);
      for (let at = start - (start % 4096); at < end; at += 4096) {
        let x = (at / 4096) * 2654435761 || 1;
        for (let i = 0; i < words.length; i++) {
          x ^= x << 13;
          x ^= x >>> 17;
          x ^= x << 5;
          words[i] = x;
        }
        const bytes = new Uint8Array(words.buffer);
        const from = Math.max(start, at);
        out.set(bytes.subarray(from - at, Math.min(4096, end - at)), from - start);
      }
      return out;
    },
  };
}

function median(job) {
  const times = [];
  for (let i = 0; i < REPEAT; i++) {
    const start = performance.now();
    job();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[REPEAT / 2].toFixed(2);
}

console.log(conditions());
console.log("| data | blocks proven | proof, bytes | read and verify, portable, ms | with OpenSSL, ms |\n|---|---|---|---|---|");
for (const size of [MIB, 64 * MIB, 1024 * MIB]) {
  const data = noise(size);
  const tree = new Uint8Array(size / 64 + 4096);
  const { rootHash, layout } = await buildTree(data, (at, bytes) => tree.set(bytes, at), { ...params, engine: nativeEngine });
  for (const count of [1, 128]) {
    const first = Math.floor(layout.dataBlocks / 256) * 128;
    const blocks = Array.from({ length: count }, (_, i) => first + i);
    const bytes = encodeProof(await makeProof({ data, hash: memorySource(tree), layout, rootHash, engine: nativeEngine }, blocks));
    const time = (engine) => median(() => verifyProof(decodeProof(bytes), rootHash, { known: layout, engine }));
    console.log(`| ${size / MIB} MiB | ${count} | ${bytes.length} | ${time(portableEngine)} | ${time(nativeEngine)} |`);
  }
}
