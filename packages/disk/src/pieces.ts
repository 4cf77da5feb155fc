// An image as a source that is made of pieces: each is read, or made, when somebody asks for its bytes. What no piece covers is zero.

import { type ByteRange, type ByteSource, checkRange } from "@imgkit/bytes";
import type { FileNode } from "@imgkit/core";
import { DiskError } from "./errors.ts";

/** One run of an image's bytes. */
export interface Piece {
  /** In bytes from the image's start. */
  readonly start: number;
  readonly end: number;
  /** Fills `part` with the piece's bytes from byte `from` of it on. */
  fill(part: Uint8Array, from: number): void | Promise<void>;
  /** Where in the piece there may be anything but zeros; absent means everywhere. */
  dataRanges?(): readonly ByteRange[] | Promise<readonly ByteRange[]>;
}

/** A source that can tell where its data are and fill an array. */
export interface PieceSource extends ByteSource {
  readInto(target: Uint8Array, start: number): Promise<void>;
  dataRanges(): Promise<readonly ByteRange[]>;
}

/** The source of `size` bytes that the pieces, ascending and disjoint, make up. */
export function pieceSource(size: number, pieces: readonly Piece[]): PieceSource {
  const readInto = async (target: Uint8Array, start: number): Promise<void> => {
    checkRange(size, start, start + target.length);
    const end = start + target.length;
    target.fill(0);
    for (let i = firstEndingAfter(pieces, start); i < pieces.length; i++) {
      const piece = pieces[i] as Piece;
      if (piece.start >= end) break;
      const from = Math.max(start, piece.start);
      await piece.fill(target.subarray(from - start, Math.min(end, piece.end) - start), from - piece.start);
    }
  };
  return {
    size,
    readInto,
    async read(start, end) {
      checkRange(size, start, end);
      const out = new Uint8Array(end - start);
      await readInto(out, start);
      return out;
    },
    async dataRanges() {
      const out: ByteRange[] = [];
      for (const piece of pieces) {
        const ranges = (await piece.dataRanges?.()) ?? [{ start: 0, end: piece.end - piece.start }];
        for (const { start, end } of ranges) out.push({ start: piece.start + start, end: piece.start + end });
      }
      return out;
    },
  };
}

function firstEndingAfter(pieces: readonly Piece[], position: number): number {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pieces[middle] as Piece).end <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Bytes that are there already, or that are made each time they are asked for. */
export function bytesPiece(start: number, length: number, bytes: () => Uint8Array): Piece {
  return { start, end: start + length, fill: (part, from) => part.set(bytes().subarray(from, from + part.length)) };
}

/** Another source, whole. */
export function sourcePiece(start: number, source: ByteSource): Piece {
  return {
    start,
    end: start + source.size,
    ...(source.dataRanges === undefined ? {} : { dataRanges: source.dataRanges.bind(source) }),
    fill: async (part, from) => {
      if (source.readInto === undefined) part.set(await source.read(from, from + part.length));
      else await source.readInto(part, from);
    },
  };
}

/** A file's content, whole. */
export function contentPiece(start: number, node: FileNode): Piece {
  const { content } = node;
  return {
    start,
    end: start + content.size,
    ...(content.dataRanges === undefined ? {} : { dataRanges: content.dataRanges.bind(content) }),
    fill: (part, from) => fillContent(node, part, from),
  };
}

/** Fills `part` from byte `from` of a file's content. @throws DiskError CONTENT_CHANGED when that gives another number of bytes than was asked for. */
export async function fillContent({ path, content }: FileNode, part: Uint8Array, from: number): Promise<void> {
  if (content.readInto !== undefined) return content.readInto(part, from);
  const bytes = await content.read(from, from + part.length);
  if (bytes.length !== part.length) {
    throw new DiskError("CONTENT_CHANGED", "a content gave another number of bytes than was asked for", {
      path,
      offset: from,
      expected: `${part.length} bytes`,
      found: `${bytes.length}`,
    });
  }
  part.set(bytes);
}
