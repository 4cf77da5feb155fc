import { type Struct, sliceSource, struct, u16le, u32le } from "@imgkit/bytes";
import type { FoundCause } from "./causes.ts";
import { both, type ContentRule, differingRanges, distinct, found, headOf } from "./pair.ts";
import { explainTextInside } from "./text.ts";

// Python's compiled files, PEP 552 (3.7 and newer): magic, flags, then either the source's time and size or its hash.
interface PycHeader {
  readonly magic: number;
  readonly crlf: number;
  readonly flags: number;
  readonly mtime: number;
  readonly size: number;
}
const header: Struct<PycHeader> = struct<PycHeader>("pyc header", 16, { magic: u16le(0), crlf: u16le(2), flags: u32le(4), mtime: u32le(8), size: u32le(12) });
const CRLF = 0x0a0d;
/** marshal's FLAG_REF: set where an object had more than one reference when it was written. */
const FLAG_REF = 0x80;

/** Python caches: the header, then the code. */
export const explainPyc: ContentRule = async (pair) => {
  const { a, b } = pair;
  if (!/\.py[co]\b/.test(pair.path)) return undefined;
  const heads = [await headOf(a, header.size), await headOf(b, header.size)] as const;
  if (heads.some((head) => head.length < header.size)) return undefined;
  const [left, right] = [header.decode(heads[0]), header.decode(heads[1])];
  if (left.crlf !== CRLF || right.crlf !== CRLF) return undefined;
  if (left.magic !== right.magic) return [found("pyc-version", both("magic", left.magic, right.magic))];
  const causes: FoundCause[] = [];
  if (left.flags !== right.flags) causes.push(found("pyc-mode", both("flags", left.flags, right.flags)));
  else if (left.flags === 0 && left.mtime !== right.mtime) causes.push(found("pyc-time", both("time", left.mtime, right.mtime)));
  else if (left.mtime !== right.mtime || left.size !== right.size) causes.push(found("unknown", "another source"));
  const code = { path: pair.path, a: sliceSource(a, header.size, a.size), b: sliceSource(b, header.size, b.size) };
  if (a.size !== b.size) causes.push(found("unknown", `code of ${both("", a.size, b.size).trim()} bytes`));
  else if (await onlyMarks(code)) causes.push(found("pyc-marshal", "bytes differ in their highest bit only"));
  else causes.push(...(await explainTextInside(code, "code, ")));
  return causes.length === 0 ? undefined : distinct(causes);
};

/** Whether contents differ, and in nothing but marshal's marks. */
async function onlyMarks({ a, b }: Parameters<ContentRule>[0]): Promise<boolean> {
  let any = false;
  for await (const { start, end } of differingRanges(a, b)) {
    const [left, right] = [await a.read(start, end), await b.read(start, end)];
    if (left.some((byte, i) => byte !== right[i] && byte !== ((right[i] ?? 0) ^ FLAG_REF))) return false;
    any = true;
  }
  return any;
}
