// The archive that GNU tar --format=oldgnu writes of one file: what a cloud takes that reads no other dialect.

import { type ByteSource, encodeName, streamSource } from "@imgkit/bytes";
import { padding } from "./chunks.ts";
import { BLOCK, encodeGnuTarHeader, RECORD } from "./header.ts";

const empty = new Uint8Array(0);

/**
 * An archive of one file that belongs to root, mode 0644. It may have any size.
 * @param name at most 100 bytes.
 * @param mtime seconds since 1970, less than 2^33.
 * @throws RangeError for a name or a time that is no such.
 */
export async function* gnuFileArchive(name: string, content: ByteSource, mtime: number): AsyncGenerator<Uint8Array, void, undefined> {
  const entry = { name: encodeName(name), mode: 0o644, uid: 0, gid: 0, size: content.size, mtime, typeflag: "0" };
  yield encodeGnuTarHeader({ ...entry, linkname: empty, devmajor: undefined, devminor: undefined, prefix: empty });
  yield* streamSource(content);
  const end = BLOCK + content.size + padding(content.size, BLOCK) + 2 * BLOCK;
  yield new Uint8Array(end - BLOCK - content.size + padding(end, RECORD));
}
