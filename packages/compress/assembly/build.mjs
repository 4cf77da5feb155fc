// Compiles the assembly to WebAssembly: `node packages/compress/assembly/build.mjs` writes src/gzip-wasm.ts. A test calls
// `compile` and compares with what that file holds, byte for byte; the compiler's version is pinned in package.json.

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
  "--enable=simd",
  // Nothing is allocated and nothing aborts: no runtime, no imports.
  "--runtime=stub",
  "--use=abort=",
  // 64 KiB pages, up to the end of OUTPUT (memory.ts): 1 MiB and 64 KiB.
  "--initialMemory=102",
  "--memoryBase=0",
];

/** The bytes of the module. */
export async function compile() {
  const sources = new Map(readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")]));
  let wasm;
  const { error, stderr } = await main(options, {
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
  const base64 = Buffer.from(await compile()).toString("base64");
  writeFileSync(
    target,
    `// Made from assembly/ by assembly/build.mjs; a test compares. Embedded, so that no runtime has to fetch it.

/** The WebAssembly module of the compressor, in base64. */
export const gzipWasm: string =
  "${base64}";
`,
  );
}
