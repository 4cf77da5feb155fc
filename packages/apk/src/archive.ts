// The gzip members that an .apk and an APKINDEX.tar.gz are made of: a signature, the control data or the index, the files.
import { type ByteSource, type ByteStream, collect, memorySource, sliceSource, streamSource } from "@imgkit/bytes";
import { gunzip } from "@imgkit/compress";
import { readTar, type Tree } from "@imgkit/core";
import { ApkError } from "./errors.ts";

/** A half-open range of a file, in bytes. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A gzip member that is held whole, with where its compressed bytes stand. */
export interface Member extends Range {
  readonly bytes: Uint8Array;
}

/** How a compressed stream is read; the engines of Node are faster. `onMember` is told where each gzip member ends. */
export type Gunzip = (stream: ByteStream, options: { readonly path: string; readonly onMember: (end: number) => void }) => AsyncIterable<Uint8Array>;

export const portableGunzip: Gunzip = gunzip;

/**
 * The gzip member that starts at a byte of a file.
 * @throws ApkError BAD_PACKAGE when it holds more than `limit` bytes; CompressError for what is no gzip.
 */
export async function readMember(source: ByteSource, start: number, limit: number, path: string, decompress: Gunzip): Promise<Member> {
  let end: number | undefined;
  const parts: Uint8Array[] = [];
  let size = 0;
  const onMember = (at: number): void => {
    end ??= at;
  };
  for await (const chunk of decompress(streamSource(sliceSource(source, start, source.size)), { path, onMember })) {
    // The first chunk of the next member has come: this one is whole.
    if (end !== undefined) break;
    size += chunk.length;
    if (size > limit)
      throw new ApkError("BAD_PACKAGE", "a member that is too large for what it is", { path, offset: start, expected: `at most ${limit} bytes` });
    parts.push(chunk.slice());
  }
  return { start, end: start + (end ?? 0), bytes: await collect(parts) };
}

/** The files of a member; the tars in an .apk but the last have no end of archive. Sparse files may not claim more than there is. */
export async function memberTree(bytes: Uint8Array, path: string): Promise<Tree> {
  const { tree } = await readTar(memorySource(bytes), { name: path, end: "optional", limits: { totalSize: bytes.length } });
  return tree;
}

/** A file of a member's tree, or undefined. */
export async function memberFile(tree: Tree, name: string): Promise<Uint8Array | undefined> {
  const node = tree.get(name);
  return node?.type === "file" ? node.content.read(0, node.content.size) : undefined;
}
