// Which package brought which path: dpkg's lists (/var/lib/dpkg/info/*.list, deb-diversions) and apk's database (lib/apk/db/installed,
// the format of apk-tools 2). What a package's scripts made is nobody's.
import { collect, decodeName, streamSource } from "@imgkit/bytes";
import { CoreError, joinPath, lookUp, nameOf, parentOf, type Tree } from "@imgkit/core";
import { OciError } from "../errors.ts";

/** A package that is installed in a tree. */
export interface InstalledPackage {
  /** As its manager names it: `bash`, `libc6:amd64`. */
  readonly name: string;
  /** Of everything it brought that is no directory, and is in the tree. */
  readonly paths: readonly string[];
}

export type PackageManager = "debian" | "apk";

/** Of one file of a database. */
const MAX_FILE = 64 << 20;

const readers: Readonly<Record<PackageManager, (tree: Tree) => Promise<InstalledPackage[] | undefined>>> = { debian: debianPackages, apk: apkPackages };

/**
 * The packages of a tree, by name. A path that several have belongs to the first of them.
 * @throws OciError NO_PACKAGES when the tree has no such database, or one that cannot be read.
 */
export async function installedPackages(tree: Tree, manager: PackageManager): Promise<InstalledPackage[]> {
  const found = await readers[manager](tree);
  if (found !== undefined && found.length > 0) return found;
  const expected = manager === "debian" ? `${DPKG}/*.list` : apkDatabases.map((path) => `/${path}`).join(" or ");
  throw new OciError("NO_PACKAGES", `the tree has no packages of ${manager === "debian" ? "dpkg" : "apk"}`, { expected, found: "none" });
}

const DPKG = "var/lib/dpkg/info";

async function debianPackages(tree: Tree): Promise<InstalledPackage[] | undefined> {
  const lists = [...tree].filter((node) => parentOf(node.path) === DPKG && node.path.endsWith(".list"));
  const diversions = await readDiversions(tree);
  const claims = new Claims(tree);
  for (const { path } of lists) {
    const name = nameOf(path).slice(0, -".list".length);
    const [plain = ""] = name.split(":", 1);
    const diverted = (listed: string): string => {
      const diversion = diversions.get(listed);
      return diversion === undefined || diversion.by === plain ? listed : diversion.to;
    };
    const listed = (await readLines(tree, path)).map((line) => line.replace(/^\/(\.$)?/, ""));
    // What has something below it is a directory to the package, though the tree may have a link there (`/bin`).
    const folders = new Set(listed.map(parentOf));
    claims.add(name, listed.filter((one) => !folders.has(one)).map(diverted));
  }
  return claims.packages;
}

/** Where dpkg puts a file instead, unless it comes from the package that asked for it: three lines each (deb-old, dpkg-divert(1)). */
async function readDiversions(tree: Tree): Promise<ReadonlyMap<string, { readonly to: string; readonly by: string }>> {
  const path = "var/lib/dpkg/diversions";
  const lines = tree.has(path) ? await readLines(tree, path) : [];
  const out = new Map<string, { to: string; by: string }>();
  for (let i = 0; i + 2 < lines.length; i += 3) out.set((lines[i] ?? "").slice(1), { to: (lines[i + 1] ?? "").slice(1), by: lines[i + 2] ?? "" });
  return out;
}

const apkDatabases = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

async function apkPackages(tree: Tree): Promise<InstalledPackage[] | undefined> {
  const path = apkDatabases.find((one) => tree.get(one)?.type === "file");
  if (path === undefined) return undefined;
  const claims = new Claims(tree);
  let name: string | undefined;
  let folder = "";
  let paths: string[] = [];
  for (const line of [...(await readLines(tree, path, true)), ""]) {
    const value = line.slice(2);
    if (line.startsWith("P:")) name = value;
    else if (line.startsWith("F:")) folder = value;
    else if (line.startsWith("R:")) paths.push(joinPath(folder, value));
    else if (line === "") {
      if (name !== undefined) claims.add(name, paths);
      name = undefined;
      folder = "";
      paths = [];
    }
  }
  return claims.packages;
}

/** Who has which path, each once. */
class Claims {
  readonly #tree: Tree;
  readonly #taken = new Set<string>();
  readonly #folders = new Map<string, string | undefined>();
  readonly packages: InstalledPackage[] = [];

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  add(name: string, listed: readonly string[]): void {
    const paths: string[] = [];
    for (const one of listed) {
      const path = this.#place(one);
      const node = path === undefined ? undefined : this.#tree.get(path);
      if (node === undefined || node.type === "directory" || this.#taken.has(node.path)) continue;
      this.#taken.add(node.path);
      paths.push(node.path);
    }
    this.packages.push({ name, paths });
  }

  /** Where a listed path is: packages still say `/bin/ls` where `/bin` is a link to `usr/bin`. */
  #place(path: string): string | undefined {
    const folder = parentOf(path);
    if (!this.#folders.has(folder)) this.#folders.set(folder, this.#follow(folder));
    const place = this.#folders.get(folder);
    return place === undefined ? undefined : joinPath(place, nameOf(path));
  }

  #follow(folder: string): string | undefined {
    try {
      return lookUp(this.#tree, folder, { follow: true }).path;
    } catch (error) {
      // What was listed was removed, or never put there.
      if (error instanceof CoreError && error.code === "NO_SUCH_PATH") return undefined;
      throw error;
    }
  }
}

/** A text file's lines; without empty ones unless `all`. */
async function readLines(tree: Tree, path: string, all = false): Promise<string[]> {
  const node = tree.get(path);
  const inode = node === undefined ? undefined : tree.inode(node);
  if (inode?.type !== "file" || inode.content.size > MAX_FILE) {
    const found = inode?.type === "file" ? `${inode.content.size} bytes` : `a ${inode?.type}`;
    throw new OciError("NO_PACKAGES", "a package manager's file that cannot be read", {
      path: `/${path}`,
      expected: `a file of at most ${MAX_FILE} bytes`,
      found,
    });
  }
  const lines = decodeName(await collect(streamSource(inode.content))).split("\n");
  return all ? lines : lines.filter((line) => line !== "");
}
