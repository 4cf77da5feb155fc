// Compiles the assembly to WebAssembly: `node packages/compress/assembly/build.mjs` writes src/gzip-wasm.ts: a module with 128-bit
// vectors, and one for engines that have none. A test calls `compile` and compares with what that file holds, byte for byte; the
// compiler's version is pinned in package.json.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const folder = new URL("./", import.meta.url);
const target = new URL("../src/gzip-wasm.ts", import.meta.url);

const options = [
  "index.ts",
  "--outFile=gzip.wasm",
  "--optimizeLevel=3",
  "--converge",
  "--noAssert",
  // Nothing is allocated and nothing aborts: no runtime, no imports.
  "--runtime=stub",
  "--use=abort=",
  // 64 KiB pages, up to the end of OUTPUT (memory.ts): 1 MiB and 64 KiB.
  "--initialMemory=102",
  "--memoryBase=0",
];

/** The bytes of the module, with the vectors of WebAssembly or without. */
export async function compile({ simd }) {
  const sources = new Map(readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")]));
  let wasm;
  const { error, stderr } = await main([...options, simd ? "--enable=simd" : "--disable=simd"], {
    readFile: (name) => sources.get(name) ?? null,
    writeFile: (_name, contents) => {
      wasm = contents;
    },
    listFiles: () => [],
  });
  if (error || wasm === undefined) throw new Error(`the assembly does not compile: ${stderr}`, { cause: error });
  return new Uint8Array(wasm);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const base64 = async (simd) => Buffer.from(await compile({ simd })).toString("base64");
  writeFileSync(
    target,
    `// Made from assembly/ by assembly/build.mjs; a test compares. Embedded, so that no runtime has to fetch it.

/** The WebAssembly module of the compressor, in base64. */
export const gzipWasm: string =
  "${await base64(true)}";

/** The same without 128-bit vectors: other code, the same bytes of gzip/1. */
export const gzipWasmWithoutVectors: string =
  "${await base64(false)}";
`,
  );
}
