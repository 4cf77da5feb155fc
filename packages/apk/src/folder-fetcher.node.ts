import { join } from "node:path";
import { openFile } from "@imgkit/bytes/node";
import type { Fetcher } from "./apko/fetcher.ts";
import { ApkError } from "./errors.ts";

/** Reads repositories and keys that are folders and files here; relative ones from `base`. */
export function folderFetcher(base: string = "."): Fetcher {
  return {
    async open(place, name) {
      if (/^[a-z][a-z0-9+.-]*:\/\//.test(place)) {
        throw new ApkError("UNSUPPORTED", "repositories are read from folders only", { path: place, hint: "Fetch the repository into a folder first." });
      }
      const path = place.startsWith("/") ? place : join(base, place);
      return openFile(name === "" ? path : join(path, name));
    },
  };
}
