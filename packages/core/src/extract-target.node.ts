import { type BigIntStats, lstatSync, readdirSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { readError } from "@imgkit/bytes/node";
import { CoreError } from "./errors.ts";

/** Names that Windows takes for something else: a drive, a stream, a device, a separator. */
export function checkWindowsName(path: string): void {
  for (const name of path.split("/")) {
    if (/[<>:"\\|?*\u0000-\u001f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(name)) {
      throw new CoreError("EXTRACT_REFUSED", "a name that Windows cannot hold", { path: `/${path}`, hint: "Extract it on another system." });
    }
  }
}

export interface Target {
  readonly path: string;
  /** `stays`: an empty folder that cannot be replaced, being a mount point or where the caller stands. */
  readonly state: "replaced" | "stays" | "holds something";
}

/**
 * What stands where a tree is to be extracted.
 * @throws CoreError EXTRACT_REFUSED for a file; BytesError READ_FAILED.
 */
export function targetOf(folder: string): Target {
  // The folder itself may be a link: that is the caller's word, not the tree's.
  let path = resolve(folder);
  let stat: BigIntStats;
  try {
    path = realpathSync(path);
    stat = lstatSync(path, { bigint: true });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return { path, state: "replaced" };
    throw readError(folder, cause);
  }
  if (!stat.isDirectory()) throw new CoreError("EXTRACT_REFUSED", "not a folder", { path: folder, hint: "Name a new or an empty folder." });
  if (readdirSync(path).length > 0) return { path, state: "holds something" };
  const isMounted = lstatSync(dirname(path), { bigint: true }).dev !== stat.dev || dirname(path) === path;
  return { path, state: isMounted || path === process.cwd() ? "stays" : "replaced" };
}
