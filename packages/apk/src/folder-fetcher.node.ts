import { join } from "node:path";
import { openFile } from "@imgkit/bytes/node";
import type { Fetcher } from "./apko/fetcher.ts";
import { ApkError } from "./errors.ts";

/** Reads repositories and keys that are folders and files here; relative ones from `base`. */
export function folderFetcher(base: string = "."): Fetcher {
  return {
    async open(place, name, { maxSize = Number.POSITIVE_INFINITY } = {}) {
      if (/^[a-z][a-z0-9+.-]*:\/\//.test(place)) {
        throw new ApkError("UNSUPPORTED", "not an address that is read", { path: place, expected: "a folder, http:// or https://" });
      }
      const path = place.startsWith("/") ? place : join(base, place);
      const file = openFile(name === "" ? path : join(path, name));
      if (file.size <= maxSize) return file;
      file.close();
      throw new ApkError("REPOSITORY_FAILED", "more bytes than there can be", { path: file.path, expected: `at most ${maxSize}`, found: String(file.size) });
    },
  };
}
