// Directory data: blocks, each with the entries first and their names behind, all entries of a directory ascending by
// the bytes of their names, so that a lookup is a binary search. `.` and `..` are entries as any other.

import { compareBytes, decodeName, encodeName } from "@imgkit/bytes";
import { BLOCK_SIZE, dirent } from "./format.ts";

export interface DirectoryEntry {
  readonly name: string;
  readonly nid: number;
  readonly fileType: number;
}

/** How the names of a directory, in order, fall into blocks. */
export interface DirectoryPlan {
  /** The index of the first entry of each block. */
  readonly starts: readonly number[];
  /** i_size: whole blocks but for the last, which ends with its last name. */
  readonly size: number;
}

/** Fills each block as far as the next entry fits. A name of 255 bytes always fits into an empty block. */
export function planDirectory(names: readonly string[]): DirectoryPlan {
  const starts: number[] = [];
  let used = BLOCK_SIZE;
  names.forEach((name, i) => {
    const size = dirent.size + encodeName(name).length;
    if (used + size > BLOCK_SIZE) {
      starts.push(i);
      used = 0;
    }
    used += size;
  });
  return { starts, size: (starts.length - 1) * BLOCK_SIZE + used };
}

/** The bytes of one block with these entries: not padded. */
export function encodeDirectoryBlock(entries: readonly DirectoryEntry[]): Uint8Array {
  const names = entries.map((entry) => encodeName(entry.name));
  let nameoff = entries.length * dirent.size;
  const bytes = new Uint8Array(names.reduce((sum, name) => sum + name.length, nameoff));
  entries.forEach((entry, i) => {
    const name = names[i] as Uint8Array;
    dirent.encodeInto(bytes, i * dirent.size, { nid: BigInt(entry.nid), nameoff, file_type: entry.fileType });
    bytes.set(name, nameoff);
    nameoff += name.length;
  });
  return bytes;
}

export interface DecodedEntry {
  readonly name: string;
  readonly nid: bigint;
  readonly fileType: number;
}

/** Reads the blocks of one directory one after the other. */
export class DirectoryDecoder {
  #previous: Uint8Array | undefined;

  /** The entries of the next block (the last may be short), or what is wrong with it. */
  decode(block: Uint8Array): DecodedEntry[] | { readonly wrong: string } {
    if (block.length < dirent.size) return { wrong: "a block too short for an entry" };
    const namesAt = dirent.decode(block).nameoff;
    if (namesAt === 0 || namesAt % dirent.size !== 0 || namesAt >= block.length) return { wrong: `nameoff ${namesAt} of the first entry` };
    const count = namesAt / dirent.size;
    const out: DecodedEntry[] = [];
    for (let i = 0; i < count; i++) {
      const { nid, nameoff, file_type } = dirent.decode(block, i * dirent.size);
      // A name ends where the next begins, so names cannot overlap; one that would end before it begins is empty.
      const end = i + 1 < count ? dirent.decode(block, (i + 1) * dirent.size).nameoff : lastNameEnd(block, nameoff);
      const name = block.subarray(nameoff, end);
      if (end > block.length || name.length === 0 || name.length > 255) return { wrong: `a name of ${end - nameoff} bytes` };
      if (name.includes(0) || name.includes(0x2f)) return { wrong: "a name with a NUL or a slash" };
      if (this.#previous !== undefined && compareBytes(this.#previous, name) >= 0) return { wrong: "names that do not ascend" };
      this.#previous = name.slice();
      out.push({ name: decodeName(name), nid, fileType: file_type });
    }
    return out;
  }
}

// The last name of a block reaches to its end, or to the first NUL of the padding.
function lastNameEnd(block: Uint8Array, nameoff: number): number {
  const nul = block.indexOf(0, nameoff);
  return nul < 0 ? block.length : nul;
}
