import { type Tree, writeGoTar } from "@imgkit/core";

export interface ApkoTarOptions {
  /** The whole, where the tree is a layer of it: whose /etc/passwd and /etc/group have the names of owners. Default: the tree itself. */
  readonly whole?: Tree;
  readonly onProgress?: (bytes: number) => void;
}

/** The archive that apko writes of a tree: as Go's archive/tar does, with the names of owners. */
export async function* writeApkoTar(tree: Tree, options: ApkoTarOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
  const { whole = tree, onProgress = () => {} } = options;
  const [users, groups] = [await names(whole, "etc/passwd"), await names(whole, "etc/group")];
  yield* writeGoTar(tree, { users, groups, onProgress });
}

/** Names by number: the first field by the third; the last line of a number holds. */
async function names(tree: Tree, path: string): Promise<ReadonlyMap<number, string>> {
  const node = tree.get(path);
  if (node?.type !== "file") return new Map();
  const text = new TextDecoder().decode(await node.content.read(0, node.content.size));
  const out = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [name = "", , id = ""] = line.split(":");
    if (/^[0-9]{1,10}$/.test(id)) out.set(Number(id), name);
  }
  return out;
}
