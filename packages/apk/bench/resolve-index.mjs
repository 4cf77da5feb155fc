// INDEX KEY NAME...: reads an index, holds it to its key and resolves the names, in a process of its own; says how long the work took.

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { makeCatalogue, parsePublicKey, readIndex, resolve } from "@imgkit/apk";
import { nodeGunzip, nodeRsa } from "@imgkit/apk/node";
import { openFile } from "@imgkit/bytes/node";

const [index, key, ...world] = process.argv.slice(2);
const begin = performance.now();
const name = basename(key);
const file = openFile(index);
const trust = { keys: new Map([[name, parsePublicKey(readFileSync(key, "utf8"), name)]]), rsa: nodeRsa };
const { packages } = await readIndex(file, { trust, gunzip: nodeGunzip });
file.close();
if (world.length > 0) resolve(world, makeCatalogue([{ packages }], packages[0].architecture));
console.error(JSON.stringify({ seconds: (performance.now() - begin) / 1000 }));
