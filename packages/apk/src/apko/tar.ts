import { type Tree, writeGoTar } from "@imgkit/core";

/** The archive that apko writes of a tree: as Go's archive/tar does, with the names of owners that the tree's own /etc/passwd and /etc/group have. */
export async function* writeApkoTar(tree: Tree, onProgress: (bytes: number) => void = () => {}): AsyncGenerator<Uint8Array, void, undefined> {
  const [users, groups] = [await names(tree, "etc/passwd"), await names(tree, "etc/group")];
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
