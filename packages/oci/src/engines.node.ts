import { nativeSha256 } from "@imgkit/bytes/node";
import { decompress, gzip } from "@imgkit/compress/node";
import type { Engines } from "./engines.ts";

/** The fastest engines that Node has. They give the same bytes as the portable ones. */
export const nodeEngines: Engines = { sha256: nativeSha256, gzip, decompress };
