import { type ByteSource, type ByteStream, collect, ImgkitError, memorySource, type Struct, struct, u8, u16le, u32le } from "@imgkit/bytes";
import type { FoundCause } from "./causes.ts";
import { both, type ContentRule, distinct, found, HELD, type Help, headOf, type Pair, sameFrom } from "./pair.ts";

// gzip: RFC 1952 section 2.3, the fixed part of the first member's header.
interface GzipHeader {
  readonly flags: number;
  readonly mtime: number;
  readonly xfl: number;
  readonly os: number;
}
const gzipHeader: Struct<GzipHeader> = struct<GzipHeader>("gzip header", 10, { flags: u8(3), mtime: u32le(4), xfl: u8(8), os: u8(9) });
const extraLength: Struct<{ xlen: number }> = struct("gzip extra field", 2, { xlen: u16le(0) });
const FLAG_CRC = 2;
const FLAG_EXTRA = 4;
const FLAG_NAME = 8;
const FLAG_COMMENT = 16;
/** Longer names are not looked for. */
const HEADER = 4096;

interface Header extends GzipHeader {
  readonly name: string;
  /** Where the compressed data begin. */
  readonly length: number;
}

async function readHeader(source: ByteSource): Promise<Header | undefined> {
  const bytes = await headOf(source, HEADER);
  if (bytes.length < gzipHeader.size) return undefined;
  const fixed = gzipHeader.decode(bytes);
  let at = gzipHeader.size;
  if (fixed.flags & FLAG_EXTRA) {
    if (bytes.length < at + extraLength.size) return undefined;
    at += extraLength.size + extraLength.decode(bytes, at).xlen;
  }
  let name = "";
  for (const flag of [FLAG_NAME, FLAG_COMMENT]) {
    if (!(fixed.flags & flag)) continue;
    const end = bytes.indexOf(0, at);
    if (end < 0) return undefined;
    if (flag === FLAG_NAME) name = String.fromCharCode(...bytes.subarray(at, end));
    at = end + 1;
  }
  if (fixed.flags & FLAG_CRC) at += 2;
  return { ...fixed, name, length: at };
}

/** gzip, zstd and xz: what the header says, and whether the content is the same. */
export const explainCompressed: ContentRule = async (pair, help) => {
  const { detectCompression } = await import("@imgkit/compress");
  const kinds = [detectCompression(await headOf(pair.a, 6)), detectCompression(await headOf(pair.b, 6))] as const;
  if (kinds[0] === "none" || kinds[1] === "none") return undefined;
  const header = kinds[0] === "gzip" && kinds[1] === "gzip" ? await explainGzipHeader(pair) : undefined;
  if (header?.complete) return header.causes;
  try {
    const inside = await explainDecompressed(pair, help);
    return distinct([...(header?.causes ?? []), ...(inside ?? [found("other-compression", kinds[0] === kinds[1] ? kinds[0] : `${kinds[0]} and ${kinds[1]}`)])]);
  } catch (error) {
    if (!(error instanceof ImgkitError)) throw error;
    return distinct([...(header?.causes ?? []), found("unknown", `cannot be decompressed: ${error.message}`)]);
  }
};

/** The two headers' causes; `complete` when nothing else differs. */
async function explainGzipHeader({ a, b }: Pair): Promise<{ causes: FoundCause[]; complete: boolean } | undefined> {
  const left = await readHeader(a);
  const right = await readHeader(b);
  if (left === undefined || right === undefined) return undefined;
  const causes: FoundCause[] = [];
  if (left.mtime !== right.mtime) causes.push(found("gzip-time", both("time", left.mtime, right.mtime)));
  if (left.name !== right.name) causes.push(found("gzip-name", both("name", JSON.stringify(left.name), JSON.stringify(right.name))));
  if (left.os !== right.os || left.xfl !== right.xfl) {
    causes.push(found("gzip-writer", `${both("XFL", left.xfl, right.xfl)}, ${both("OS", left.os, right.os)}`));
  }
  return { causes, complete: causes.length > 0 && (await sameFrom(a, left.length, b, right.length)) };
}

/** What differs in the decompressed contents; undefined when nothing does. */
async function explainDecompressed(pair: Pair, help: Help): Promise<readonly FoundCause[] | undefined> {
  const offset = await firstDifference(help.decompress(pair.a), help.decompress(pair.b));
  if (offset === undefined) return undefined;
  const [a, b] = [await whole(help.decompress(pair.a)), await whole(help.decompress(pair.b))];
  if (a === undefined || b === undefined) return [found("unknown", `inside, from byte ${offset} of the decompressed content on`)];
  return help.inside({ path: `${pair.path} (decompressed)`, a, b });
}

/** A stream's content if it is small enough to be held. */
async function whole(stream: AsyncGenerator<Uint8Array, void, undefined>): Promise<ByteSource | undefined> {
  let tooLarge = false;
  async function* limited(): AsyncGenerator<Uint8Array, void, undefined> {
    let size = 0;
    for await (const chunk of stream) {
      size += chunk.length;
      if (size > HELD) {
        tooLarge = true;
        return;
      }
      yield chunk;
    }
  }
  const bytes = await collect(limited());
  return tooLarge ? undefined : memorySource(bytes);
}

/** The offset of the first byte in which two streams differ, whatever their chunks are. */
export async function firstDifference(a: ByteStream, b: ByteStream): Promise<number | undefined> {
  const sides = [new Chunks(a), new Chunks(b)] as const;
  try {
    for (let offset = 0; ; ) {
      const [left, right] = [await sides[0].chunk(), await sides[1].chunk()];
      const shared = Math.min(left.length, right.length);
      if (shared === 0) return left.length === right.length ? undefined : offset;
      for (let i = 0; i < shared; i++) if (left[i] !== right[i]) return offset + i;
      for (const side of sides) side.take(shared);
      offset += shared;
    }
  } finally {
    for (const side of sides) await side.close();
  }
}

class Chunks {
  readonly #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #chunk = new Uint8Array(0);

  constructor(stream: ByteStream) {
    this.#iterator = Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]();
  }

  /** What is there and not taken; empty only at the end. */
  async chunk(): Promise<Uint8Array> {
    while (this.#chunk.length === 0) {
      const next = await this.#iterator.next();
      if (next.done) break;
      this.#chunk = next.value as Uint8Array<ArrayBuffer>;
    }
    return this.#chunk;
  }

  take(length: number): void {
    this.#chunk = this.#chunk.subarray(length);
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }
}
