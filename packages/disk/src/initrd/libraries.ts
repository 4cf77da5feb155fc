// The shared libraries that programs of a tree need, as its own dynamic linker would find them: ld.so(8) for glibc, and the folders
// that musl's looks into.

import { type ElfLinks, type FileNode, readElfLinks, type Tree, treePathOf } from "@imgkit/core";
import { findFile, missing, readText } from "./files.ts";

/** What a linker tries when nothing else says more. */
const DEFAULT_FOLDERS = ["lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib"];

interface Linked {
  readonly file: FileNode;
  readonly links: ElfLinks;
  /** DT_RPATH of the programs that wanted it: they count for what it wants. */
  readonly inherited: readonly string[];
}

/**
 * The libraries of programs by the names under which they are wanted, and the dynamic linkers under theirs.
 * @throws DiskError INITRD_MISSING for a program that is no ELF file, a library that is nowhere, or two of one name.
 */
export async function findLibraries(tree: Tree, programs: readonly FileNode[]): Promise<ReadonlyMap<string, FileNode>> {
  const folders = [...(await configuredFolders(tree)), ...DEFAULT_FOLDERS];
  const found = new Map<string, FileNode>();
  const queue: Linked[] = [];
  const read = async (file: FileNode, inherited: readonly string[]): Promise<Linked> => {
    const links = await readElfLinks(file.content);
    if (links === undefined) throw missing("not a program or library that can be read", file.path, { expected: "an ELF file" });
    return { file, links, inherited };
  };
  for (const program of programs) queue.push(await read(program, []));
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const { file, links, inherited } = next;
    if (links.interpreter !== undefined) add(found, nameOfLinker(tree, links.interpreter, file));
    const rpath = links.runpath.length > 0 ? [] : [...links.rpath.map((folder) => expand(folder, file.path)), ...inherited];
    const places = [...rpath, ...links.runpath.map((folder) => expand(folder, file.path)), ...folders];
    for (const name of links.needed) {
      const library = await findLibrary(tree, name, places, links.abi);
      if (library === undefined) {
        throw missing("a shared library is missing", file.path, { field: "DT_NEEDED", expected: name, hint: `Add the package that has ${name}.` });
      }
      if (add(found, [name, library])) queue.push(await read(library, rpath));
    }
  }
  return found;
}

function add(found: Map<string, FileNode>, [name, file]: readonly [string, FileNode]): boolean {
  const known = found.get(name);
  if (known === undefined) {
    found.set(name, file);
    return true;
  }
  // A linker goes by other names as well: musl's is libc, too.
  if (known.path === file.path) return false;
  throw missing("two libraries of one name", file.path, { expected: `/${known.path} for every program`, found: name });
}

function nameOfLinker(tree: Tree, interpreter: string, program: FileNode): [string, FileNode] {
  const file = findFile(tree, treePathOf(interpreter));
  if (file === undefined) throw missing("the dynamic linker is missing", program.path, { field: "PT_INTERP", expected: interpreter });
  return [interpreter.slice(interpreter.lastIndexOf("/") + 1), file];
}

async function findLibrary(tree: Tree, name: string, places: readonly string[], abi: string): Promise<FileNode | undefined> {
  const paths = name.includes("/") ? [treePathOf(name)] : places.map((folder) => `${folder}/${name}`);
  for (const path of paths) {
    const file = findFile(tree, path);
    // A linker passes over libraries for other machines.
    if (file !== undefined && (await readElfLinks(file.content))?.abi === abi) return file;
  }
  return undefined;
}

/** A folder of DT_RPATH or DT_RUNPATH: `$ORIGIN` is that of the file. */
function expand(folder: string, path: string): string {
  const origin = path.slice(0, Math.max(0, path.lastIndexOf("/")));
  return treePathOf(folder.replace(/^\$(ORIGIN|\{ORIGIN\})/, `/${origin}`));
}

/** The folders of /etc/ld.so.conf and what it includes. */
async function configuredFolders(tree: Tree): Promise<string[]> {
  const folders: string[] = [];
  const seen = new Set<string>();
  const waiting = ["etc/ld.so.conf"];
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (seen.has(path)) continue;
    seen.add(path);
    for (const line of (await readText(tree, path)).split("\n")) {
      const [word = "", ...patterns] = line.replace(/#.*/, "").trim().split(/\s+/);
      if (word === "include") waiting.push(...patterns.flatMap((pattern) => included(tree, pattern, path)));
      else if (word.startsWith("/")) folders.push(treePathOf(word));
    }
  }
  return folders;
}

/** The files that a pattern means: relative to its file, with `*` in the last component alone. */
function included(tree: Tree, pattern: string, from: string): string[] {
  const path = treePathOf(pattern.startsWith("/") ? pattern : `${from.slice(0, from.lastIndexOf("/"))}/${pattern}`);
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const [before = "", ...rest] = path.slice(folder.length).split("*");
  if (rest.length === 0) return [path];
  const after = rest.at(-1) ?? "";
  return [...tree].flatMap((node) => {
    if (!node.path.startsWith(folder)) return [];
    const name = node.path.slice(folder.length);
    const fits = !name.includes("/") && name.length >= before.length + after.length && name.startsWith(before) && name.endsWith(after);
    return fits ? [node.path] : [];
  });
}
