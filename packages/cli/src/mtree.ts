import { readFileSync } from "node:fs";
import { decodeName } from "@imgkit/bytes";
import { readError } from "@imgkit/bytes/node";
import { type MtreeSpec, parseMtree } from "@imgkit/core";

/** A specification from a file. It is text with one line a node: read whole. */
export function readMtree(path: string): MtreeSpec {
  try {
    return parseMtree(decodeName(readFileSync(path)), path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).syscall !== undefined) throw readError(path, cause);
    throw cause;
  }
}
