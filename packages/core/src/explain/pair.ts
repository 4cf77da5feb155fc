import type { ByteSource } from "@imgkit/bytes";
import type { CauseCode, FoundCause } from "./causes.ts";

/** Two contents that differ. */
export interface Pair {
  /** The file's path, and in parentheses what of it. */
  readonly path: string;
  readonly a: ByteSource;
  readonly b: ByteSource;
}

/** What a rule may use besides the contents. */
export interface Help {
  /** Explains what is inside: a member, a decompressed content. */
  inside(pair: Pair): Promise<readonly FoundCause[]>;
  /** The decompressed bytes of a gzip, zstd or xz content. */
  decompress(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined>;
}

/**
 * Explains two contents of the kind that it knows: each cause of a difference once. `undefined`: not of that kind, or the
 * difference is elsewhere.
 */
export type ContentRule = (pair: Pair, help: Help) => Promise<readonly FoundCause[] | undefined>;

/** What is held in memory at once of one content, at most: of a text, a table of contents, something decompressed. */
export const HELD: number = 4 << 20;

const RANGE = 1 << 18;

export function found(code: CauseCode, detail: string): FoundCause {
  return { code, detail };
}

/** The first bytes, fewer where there are fewer. */
export async function headOf(source: ByteSource, length: number): Promise<Uint8Array> {
  return source.read(0, Math.min(length, source.size));
}

export function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

/** The bytes of both from `start` on that differ, as ranges; ranges closer than 4 bytes are one. Both must end together. */
export async function* differingRanges(a: ByteSource, b: ByteSource, start = 0): AsyncGenerator<{ start: number; end: number }, void, undefined> {
  let open: { start: number; end: number } | undefined;
  for (let at = start; at < Math.min(a.size, b.size); at += RANGE) {
    const end = Math.min(a.size, b.size, at + RANGE);
    const left = await a.read(at, end);
    const right = await b.read(at, end);
    for (let i = 0; i < left.length; i++) {
      if (left[i] === right[i]) continue;
      if (open !== undefined && at + i - open.end >= 4) {
        yield open;
        open = undefined;
      }
      open = { start: open?.start ?? at + i, end: at + i + 1 };
    }
  }
  if (open !== undefined) yield open;
}

/** Whether two contents are the same from these offsets on. */
export async function sameFrom(a: ByteSource, fromA: number, b: ByteSource, fromB: number): Promise<boolean> {
  if (a.size - fromA !== b.size - fromB) return false;
  for (let at = 0; at < a.size - fromA; at += RANGE) {
    const length = Math.min(RANGE, a.size - fromA - at);
    const left = await a.read(fromA + at, fromA + at + length);
    const right = await b.read(fromB + at, fromB + at + length);
    if (left.some((byte, i) => byte !== right[i])) return false;
  }
  return true;
}

/** Each cause once, with the first detail. */
export function distinct(causes: Iterable<FoundCause>): FoundCause[] {
  const seen = new Map<string, FoundCause>();
  for (const cause of causes) if (!seen.has(cause.code)) seen.set(cause.code, cause);
  return [...seen.values()];
}

/** Both values, for a detail. */
export function both(what: string, a: unknown, b: unknown): string {
  return `${what} ${a} and ${b}`;
}
