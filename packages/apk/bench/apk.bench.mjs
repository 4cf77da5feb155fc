// `npm run bench apk`: demands resolved and installed, on the real index of Alpine 3.16 and on a made repository of 300 packages. Debian
// has no apk-tools to run beside: figures only. Of the real index one package is at hand, so what is installed from it are stand-ins, made
// here, with the names, versions, dependencies and sizes that it has.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeCatalogue, parseIndex, readIndex, resolve } from "@imgkit/apk";
import { nodeGunzip } from "@imgkit/apk/node";
import { memorySource } from "@imgkit/bytes";
import { root } from "../../../scripts/bootstrap.mjs";
import { conditions, imgkit, interleave, report, withFolder } from "../../../scripts/bench/measure.mjs";
import { writeRepository } from "./repository.mjs";

const program = fileURLToPath(new URL("./resolve-index.mjs", import.meta.url));
const alpine = join(dirname(root), "shared", "data", "apk", "alpine-316");
const world = ["alpine-base", "nginx", "nodejs", "python3"];
