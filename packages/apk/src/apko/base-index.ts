// `contents.baseimage` of an apko.yaml: what is installed in the image below, by apko's pkg/baseimg. The file is a copy of that image's
// database, FOLDER/ARCH/APKINDEX, which nobody signed: it says what need not be installed, and nothing of it is.
import { noXattrs } from "@imgkit/core";
import { ApkError } from "../errors.ts";
import { installedEntry } from "../install/database.ts";
import type { InstalledFile } from "../install/install.ts";
import { parseIndex } from "../package.ts";
import type { ApkoConfig } from "./config.ts";
import type { Fetcher } from "./fetcher.ts";
import type { InstalledPackage } from "./layers.ts";

/** Bytes of the database of an image: a thousand packages have some millions. */
const MAX_INDEX = 1 << 28;

/**
 * The packages of the image below; none where the configuration names none.
 * @throws ApkError BAD_INDEX with the line; REPOSITORY_FAILED, and what the fetcher throws.
 */
export async function readBasePackages({ contents }: ApkoConfig, architecture: string, fetcher: Fetcher): Promise<readonly InstalledPackage[]> {
  const { baseImage } = contents;
  if (baseImage === undefined) return [];
  const file = await fetcher.open(baseImage.apkindex.replace(/\/+$/, ""), `${architecture}/APKINDEX`, { maxSize: MAX_INDEX });
  try {
    const name = `${baseImage.apkindex}/${architecture}/APKINDEX`;
    return parseBaseIndex(new TextDecoder().decode(await file.read(0, file.size)), architecture, name);
  } finally {
    file.close();
  }
}

function parseBaseIndex(text: string, architecture: string, name: string): InstalledPackage[] {
  const blocks = text.split(/\n{2,}/).filter((block) => block.trim() !== "");
  return parseIndex(text, name).map((info, i) => {
    if (info.architecture !== architecture && info.architecture !== "noarch")
      throw new ApkError("BAD_INDEX", "a package for another architecture", { path: name, field: info.name, expected: architecture, found: info.architecture });
    return { info, entry: installedEntry(info, filesOf(blocks[i] ?? "")) };
  });
}

/** Folders and files by their names alone: as apko has it, their modes, owners and checksums are not in the new database. */
function filesOf(block: string): InstalledFile[] {
  const files: InstalledFile[] = [];
  let folder = "";
  const meta = (path: string, mode: number) => ({ path, mode, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs });
  for (const line of block.split("\n")) {
    const value = line.slice(2);
    if (line.startsWith("F:")) {
      folder = value;
      if (folder !== "") files.push({ node: { type: "directory", ...meta(folder, 0o755) }, sha1: undefined });
    } else if (line.startsWith("R:")) {
      const path = folder === "" ? value : `${folder}/${value}`;
      // What it links to or holds is not told, and not asked for.
      files.push({ node: { type: "hardlink", target: path, ...meta(path, 0o644) }, sha1: undefined });
    }
  }
  return files;
}
