// The words of a kernel command line that name root hashes. The first two are systemd's, the third is of imgkit's initrd.

import { toHex } from "@imgkit/bytes";
import type { SplitFolder } from "./split.ts";

/** Where a file system with a verity tree belongs. */
export type MountPoint = "/" | `/${SplitFolder}`;

const words: Readonly<Record<MountPoint, string>> = { "/": "roothash", "/usr": "usrhash", "/opt": "imgkit.opthash" };

/** What a kernel command line needs for a disk with these file systems. */
export function rootHashWords(pairs: readonly { readonly mountPoint: MountPoint; readonly rootHash: Uint8Array }[]): string {
  return pairs.map(({ mountPoint, rootHash }) => `${words[mountPoint]}=${toHex(rootHash)}`).join(" ");
}

/** The root hashes that a command line names, in its order. */
export function namedRootHashes(commandLine: string): { readonly mountPoint: MountPoint; readonly word: string; readonly rootHash: string }[] {
  const named = commandLine.split(/\s+/).map((text) => ({ text, of: (Object.keys(words) as MountPoint[]).find((one) => text.startsWith(`${words[one]}=`)) }));
  return named.flatMap(({ text, of }) => (of === undefined ? [] : [{ mountPoint: of, word: words[of], rootHash: text.slice(words[of].length + 1) }]));
}
