// The extents of a compressed inode, from its index: checked entry by entry, so that the kernel, which looks at few of them, sees
// the same data.

import { D0_CBLKCNT, LCLUSTER_HEAD1, LCLUSTER_NONHEAD, LCLUSTER_PLAIN, MAX_EXTENT, MAX_PCLUSTER } from "./format-lz4.ts";
import { corrupt, unsupported } from "./image.ts";
import type { Lcluster } from "./indexes.ts";

/** The extents of one file, ascending and without gaps. Numbers only, as a file may have very many. */
export interface CompressedExtents {
  readonly count: number;
  /** First byte of each in the file, and behind the last one the file's size. */
  readonly starts: Float64Array;
  /** The first block of each one's pcluster, and how many it has; negative when its data are stored as they are. */
  readonly blocks: Float64Array;
  readonly sizes: Int32Array;
}

interface Where {
  /** The inode's offset in the image, and its path. */
  readonly at: number;
  readonly path: string;
  /** Size of the file, of a block, and of the image, in bytes. */
  readonly size: number;
  readonly blockSize: number;
  readonly imageSize: number;
}

/**
 * Makes extents of index entries.
 * @throws DiskError EROFS_CORRUPT for entries that contradict each other or lead outside of the image; EROFS_UNSUPPORTED for second algorithms
 * and extents that are a part of their pcluster.
 */
export function collectExtents(lclusters: Iterable<Lcluster>, where: Where): CompressedExtents {
  const builder = new Builder(where);
  for (const lcluster of lclusters) builder.add(lcluster);
  return builder.finish();
}

class Builder {
  readonly #where: Where;
  readonly #starts: number[] = [];
  readonly #blocks: number[] = [];
  readonly #sizes: number[] = [];
  #lcn = 0;
  /** The lcluster of the newest head, and where entries behind it said that the next one is. */
  #head = 0;
  #next: number | undefined;

  constructor(where: Where) {
    this.#where = where;
  }

  add(lcluster: Lcluster): void {
    if (lcluster.type === LCLUSTER_NONHEAD) this.#addTail(lcluster);
    else this.#addHead(lcluster);
    this.#lcn += 1;
  }

  #addHead({ type, offset, block, partial }: Lcluster): void {
    const { at, path, size, blockSize } = this.#where;
    if (type !== LCLUSTER_PLAIN && type !== LCLUSTER_HEAD1) throw unsupported("a file with a second compression algorithm", at, { path, field: "di_advise" });
    if (partial) throw unsupported("a file with deduplicated compressed data", at, { path, field: "di_advise" });
    const start = this.#lcn * blockSize + offset;
    if (offset >= blockSize || start > size || (this.#lcn === 0 && offset > 0)) throw this.#wrong("di_clusterofs", "a place in the file", `${offset}`);
    this.#checkNext();
    this.#head = this.#lcn;
    this.#starts.push(start);
    // A head at the end of the file begins nothing: it is there for what ends before it.
    if (start === size) return;
    this.#blocks.push(block);
    this.#sizes.push(type === LCLUSTER_PLAIN ? -1 : 1);
  }

  #addTail({ back, ahead, blocks }: Lcluster): void {
    const distance = this.#lcn - this.#head;
    if (this.#lcn === 0) throw this.#wrong("di_advise", "an extent that begins here", "none");
    if (this.#starts.length > this.#blocks.length) throw this.#wrong("di_advise", "the end of the file", "more");
    // What does not fit into 11 bits is said as their greatest number.
    if (back !== undefined && back !== Math.min(distance, D0_CBLKCNT - 1)) throw this.#wrong("delta[0]", `${distance}`, `${back}`);
    if (ahead !== undefined && ahead > 0 && ahead < D0_CBLKCNT - 1) this.#promise(this.#lcn + ahead);
    if (blocks === undefined) return;
    const last = this.#sizes.length - 1;
    if (distance !== 1 || (this.#sizes[last] as number) < 0) throw this.#wrong("delta[0]", "a number of blocks behind a compressed head only", `${blocks}`);
    this.#sizes[last] = blocks;
  }

  #promise(next: number): void {
    if (this.#next !== undefined && this.#next !== next) throw this.#wrong("delta[1]", `${this.#next - this.#lcn}`, `${next - this.#lcn}`);
    this.#next = next;
  }

  #checkNext(): void {
    if (this.#next !== undefined && this.#next !== this.#lcn) throw this.#wrong("delta[1]", `no head before lcluster ${this.#next}`, "one");
    this.#next = undefined;
  }

  finish(): CompressedExtents {
    const { size, blockSize } = this.#where;
    if (this.#next !== undefined) this.#checkNext();
    if (this.#starts.length === this.#blocks.length) this.#starts.push(size);
    const extents = {
      count: this.#blocks.length,
      starts: Float64Array.from(this.#starts),
      blocks: Float64Array.from(this.#blocks),
      sizes: Int32Array.from(this.#sizes),
    };
    for (let i = 0; i < extents.count; i++) this.#checkExtent(extents, i, blockSize);
    return extents;
  }

  #checkExtent({ starts, blocks, sizes }: CompressedExtents, i: number, blockSize: number): void {
    const { at, path, imageSize } = this.#where;
    const length = (starts[i + 1] as number) - (starts[i] as number);
    const packed = Math.abs(sizes[i] as number) * blockSize;
    if (length > ((sizes[i] as number) < 0 ? packed : MAX_EXTENT) || packed === 0 || packed > MAX_PCLUSTER)
      throw corrupt("a compressed extent of an impossible size", at, { path, field: `extent ${i}`, found: `${length} bytes in ${packed}` });
    const end = (blocks[i] as number) * blockSize + packed;
    if (end > imageSize) throw corrupt("data outside of the image", at, { path, field: `extent ${i}`, expected: `at most ${imageSize}`, found: `${end}` });
  }

  #wrong(field: string, expected: string, found: string): Error {
    const { at, path } = this.#where;
    return corrupt("an index of compressed data that contradicts itself", at, { path, field: `${field} of lcluster ${this.#lcn}`, expected, found });
  }
}

/** The number of the extent that holds byte `position` of the file. */
export function extentAt({ starts, count }: CompressedExtents, position: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((starts[middle] as number) <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
