// Decodes the indexes of compressed inodes. Both kinds say the same in different words: for each lcluster its type, and of a head
// where its extent begins in the file and in the image, of others how far away their head is.

import {
  ADVISE_BIG_PCLUSTER_1,
  ADVISE_COMPACTED_2B,
  D0_CBLKCNT,
  FULL_INDEX_GAP,
  LCLUSTER_NONHEAD,
  lclusterIndex,
  type MapHeader,
  mapHeader,
} from "./format-lz4.ts";

/** What an index says of one lcluster. */
export interface Lcluster {
  readonly type: number;
  /** Of a head: the extent's first byte in the lcluster, and the pcluster's first block. */
  readonly offset: number;
  readonly block: number;
  /** Of others, where it is said: distances to the head and to the next one, and the blocks of the pcluster. */
  readonly back: number | undefined;
  readonly ahead: number | undefined;
  readonly blocks: number | undefined;
  /** The extent is a part of its pcluster only. */
  readonly partial: boolean;
}

/** Where an index stands: header and entries, in bytes from the image's start. */
export interface IndexPlace {
  readonly start: number;
  readonly end: number;
}

/** The place of a full index of so many lclusters behind an inode that ends, with its xattrs, at `inodeEnd`. */
export function fullIndexPlace(inodeEnd: number, count: number): IndexPlace {
  const start = Math.ceil(inodeEnd / 8) * 8;
  return { start, end: start + mapHeader.size + FULL_INDEX_GAP + lclusterIndex.size * count };
}

/** How the entries of a compact index are packed, one run behind the other. */
interface PackRun {
  readonly count: number;
  readonly entrySize: 2 | 4;
}

/** Packs of 2 bytes an entry begin at a multiple of 32 bytes and are whole; what is before and behind has 4. */
function packRuns(start: number, count: number, advise: number): PackRun[] {
  const first = ((32 - ((start + mapHeader.size) % 32)) % 32) / 4;
  if ((advise & ADVISE_COMPACTED_2B) === 0 || first >= count) return [{ count, entrySize: 4 }];
  const middle = Math.floor((count - first) / 16) * 16;
  return [
    { count: first, entrySize: 4 },
    { count: middle, entrySize: 2 },
    { count: count - first - middle, entrySize: 4 },
  ];
}

/** The place of a compact index; `advise` is that of its header. */
export function compactIndexPlace(inodeEnd: number, count: number, advise: number): IndexPlace {
  const start = Math.ceil(inodeEnd / 8) * 8;
  // Two entries of 4 bytes are a pack, and there are no halves.
  const size = packRuns(start, count, advise).reduce((sum, run) => sum + Math.ceil(run.count / 2) * 2 * run.entrySize, mapHeader.size);
  return { start, end: start + size };
}

/** `bytes` are those of a full index, header included. */
export function* decodeFullIndex(bytes: Uint8Array, { h_advise }: MapHeader): Generator<Lcluster, void, undefined> {
  const big = (h_advise & ADVISE_BIG_PCLUSTER_1) !== 0;
  for (let at = mapHeader.size + FULL_INDEX_GAP; at < bytes.length; at += lclusterIndex.size) {
    const { di_advise, di_clusterofs, di_u } = lclusterIndex.decode(bytes, at);
    const type = di_advise & 3;
    const partial = (di_advise & 0x8000) !== 0;
    if (type === LCLUSTER_NONHEAD) yield { type, offset: 0, block: 0, partial, ...distances(di_u & 0xffff, big), ahead: di_u >>> 16 };
    else yield { type, offset: di_clusterofs, block: di_u, partial, back: undefined, ahead: undefined, blocks: undefined };
  }
}

function distances(back: number, big: boolean): { readonly back: number; readonly blocks: number | undefined } {
  return big && (back & D0_CBLKCNT) !== 0 ? { back: 1, blocks: back & (D0_CBLKCNT - 1) } : { back, blocks: undefined };
}

/** `bytes` are those of a compact index, header included, which stands at `start`; `bits` are log2 of an lcluster's size. */
export function* decodeCompactIndex(
  bytes: Uint8Array,
  start: number,
  count: number,
  bits: number,
  { h_advise }: MapHeader,
): Generator<Lcluster, void, undefined> {
  let at = mapHeader.size;
  for (const run of packRuns(start, count, h_advise)) {
    const perPack = run.entrySize === 4 ? 2 : 16;
    for (let done = 0; done < run.count; done += perPack) {
      const size = perPack * run.entrySize;
      yield* decodePack(bytes.subarray(at, at + size), perPack, Math.min(perPack, run.count - done), bits, (h_advise & ADVISE_BIG_PCLUSTER_1) !== 0);
      at += size;
    }
  }
}

/** The first `count` entries of a pack of `all`: bit fields, and behind them the block before that of the pack's first head. */
function* decodePack(pack: Uint8Array, all: number, count: number, lclusterBits: number, big: boolean): Generator<Lcluster, void, undefined> {
  const view = new DataView(pack.buffer, pack.byteOffset, pack.length);
  const base = view.getUint32(pack.length - 4, true);
  const valueBits = Math.max(lclusterBits, 12);
  const entryBits = ((pack.length - 4) * 8) / all;
  // Blocks that this pack's entries have told of; with big pclusters a head's own are known with the entry behind it.
  let passed = 0;
  let open = false;
  for (let i = 0; i < count; i++) {
    const entry = view.getUint32((i * entryBits) >> 3, true) >>> ((i * entryBits) & 7);
    const value = entry & ((1 << valueBits) - 1);
    const type = (entry >>> valueBits) & 3;
    if (type !== LCLUSTER_NONHEAD) {
      if (!big || open) passed++;
      open = big;
      yield { type, offset: value, block: base + passed, back: undefined, ahead: undefined, blocks: undefined, partial: false };
      continue;
    }
    const { back, blocks } = distances(value, big);
    if (blocks !== undefined) {
      passed += blocks;
      open = false;
    }
    // The last entry of a pack has the distance to the next head in place of that to its own.
    const last = i === all - 1 && blocks === undefined;
    yield { type, offset: 0, block: 0, back: last ? undefined : back, ahead: last ? value : undefined, blocks, partial: false };
  }
}
