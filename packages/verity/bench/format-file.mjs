// Formats one file with the library: what bench/verity.bench.mjs measures beside the command.
// Arguments: data, hash file, and optionally the number of threads.

import { formatVerityFiles } from "../dist/index.node.js";

const [data, hash, threads] = process.argv.slice(2);
const uuid = "00000000-0000-4000-8000-000000000000";
const salt = new Uint8Array(32).fill(0xaa);
const input = { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt, uuid };
const start = performance.now();
const { rootHash } = await formatVerityFiles(data, hash, { ...input, ...(threads === undefined ? {} : { threads: Number(threads) }) });
const seconds = (performance.now() - start) / 1000;
console.error(JSON.stringify({ seconds, rootHash: Buffer.from(rootHash).toString("hex") }));
