// /etc/ld.so.conf as apko reads it, which is less than ldconfig(8) does: `include PATTERN` below the root, lines of folders, and nothing
// behind the first include of a file.
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";

const CONF = "etc/ld.so.conf";
/** Files and folders together: files may include one another. */
const MAX_LINES = 1000;

/** The folders, absolute and in their order; undefined when there is no such file. */
export async function configuredFolders(root: Root): Promise<readonly string[] | undefined> {
  if ((await root.text(CONF)) === undefined) return undefined;
  let left = MAX_LINES;
  const count = (path: string): void => {
    if (left-- === 0) throw new ApkError("BAD_PACKAGE", "more folders and files than there can be", { path, expected: `at most ${MAX_LINES}` });
  };
  const foldersOf = async (path: string): Promise<string[]> => {
    const folders: string[] = [];
    for (const line of ((await root.text(path)) ?? "").split("\n")) {
      const text = line.replace(/#.*/, "").trim();
      if (text === "") continue;
      count(path);
      if (text.startsWith("include ")) {
        for (const included of matching(root, text.slice("include ".length).trim(), path)) folders.push(...(await foldersOf(included)));
        return folders;
      }
      const folder = absolute(text);
      if (!folders.includes(folder)) folders.push(folder);
    }
    return folders;
  };
  return foldersOf(CONF);
}

/** A path as Go's filepath.Join("/", path) has it. */
function absolute(path: string): string {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return `/${names.join("/")}`;
}

/** Paths that fit a pattern, `*` and `?` in any component, sorted. */
function matching(root: Root, pattern: string, path: string): readonly string[] {
  if (/[[\]\\]/.test(pattern)) throw new ApkError("UNSUPPORTED", "a pattern that is not read", { path, expected: "only * and ? in it", found: pattern });
  let found = [""];
  for (const component of absolute(pattern).slice(1).split("/")) {
    const names = (folder: string): string[] => root.names(root.resolve(folder)).filter((name) => fits(name, component));
    found = found.flatMap((folder) => names(folder).map((name) => (folder === "" ? name : `${folder}/${name}`)));
  }
  return found;
}

/** In time of at most the product of both lengths: only the last star that was met is ever widened. */
function fits(name: string, pattern: string): boolean {
  let [at, star, from] = [0, -1, 0];
  for (let i = 0; i < name.length; ) {
    if (pattern[at] === "*") [star, from] = [at++, i];
    else if (at < pattern.length && (pattern[at] === "?" || pattern[at] === name[i])) {
      at++;
      i++;
    } else if (star >= 0) {
      at = star + 1;
      i = ++from;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
