import { printable } from "@imgkit/bytes";
import type { CauseCode, FoundCause } from "./causes.ts";
import { type ContentRule, differingRanges, distinct, found, HELD, headOf, type Pair } from "./pair.ts";

const MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\\.?";
const DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?";
const CLOCK = "\\d{1,2}:\\d{2}(?::\\d{2}(?:\\.\\d+)?)?";
const ZONE = "(?:\\s?(?:[AP]M|Z|UTC|GMT|[A-Z]{3,4}T|[+-]\\d{2}:?\\d{2}))?\\b";

/** What a date, a time or a count of seconds looks like, from the most specific on. */
const dates: RegExp[] = [
  `\\b\\d{4}-\\d{2}-\\d{2}(?:[T ]${CLOCK}${ZONE})?`,
  `(?:\\b${DAY}\\s+)?\\b(?:${MONTH}\\s+\\d{1,2}\\b,?|\\d{1,2}[- ]${MONTH})(?:[- ]\\d{4})?(?:,?\\s+${CLOCK}${ZONE})?(?:\\s+\\d{4})?`,
  `\\b${MONTH},?\\s+\\d{4}\\b`,
  `\\b${CLOCK}${ZONE}`,
  "\\b\\d{1,4}[/.]\\d{1,2}[/.]\\d{2,4}\\b",
  "\\b(?:19|20)\\d{6}(?:T?\\d{4,6}Z?)?\\b",
  "\\b1\\d{9}(?:\\.\\d+)?\\b",
  "\\b(?:19|20)\\d{2}\\b",
].map((source) => new RegExp(source, "g"));

const ids: RegExp[] = [/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, /\b[0-9a-f]{16,}\b/gi];

const pathPattern = /(?:\/[\w.+~@%=-]+){2,}\/?/g;

type Mask = (a: string, b: string) => [string, string];

const maskAll =
  (patterns: readonly RegExp[], sign: string): Mask =>
  (a, b) => [mask(a, patterns, sign), mask(b, patterns, sign)];

function mask(text: string, patterns: readonly RegExp[], sign: string): string {
  return patterns.reduce((masked, pattern) => masked.replace(pattern, sign), text);
}

/** Paths are one when they end alike: the build's folder comes first. */
const maskPaths: Mask = (a, b) => {
  const left = a.match(pathPattern) ?? [];
  const right = b.match(pathPattern) ?? [];
  if (left.length !== right.length) return [a, b];
  const alike = (i: number): boolean => lastName(left[i] ?? "") === lastName(right[i] ?? "");
  const masked = (text: string): string => {
    let i = 0;
    return text.replace(pathPattern, (path) => (alike(i++) ? `\u0002${lastName(path)}` : path));
  };
  return [masked(a), masked(b)];
};

function lastName(path: string): string {
  return path.replace(/\/$/, "").split("/").at(-1) ?? "";
}

const kinds: readonly (readonly [CauseCode, Mask])[] = [
  ["embedded-date", maskAll(dates, "\u0001")],
  ["embedded-path", maskPaths],
  ["embedded-id", maskAll(ids, "\u0003")],
];

/** What makes two texts differ; empty when that is not known. */
export function causesOfText(a: string, b: string): CauseCode[] {
  const alone = kinds.find(([, hide]) => equalPair(hide(a, b)));
  if (alone !== undefined) return [alone[0]];
  const codes: CauseCode[] = [];
  // Ids first: a date found inside of a hash would leave halves of it.
  let pair: [string, string] = [a, b];
  for (const [code, hide] of [kinds[2], kinds[1], kinds[0]] as typeof kinds) {
    const before = pair;
    pair = hide(...pair);
    if (before[0] !== pair[0] || before[1] !== pair[1]) codes.push(code);
    if (equalPair(pair)) return codes;
  }
  return [];
}

function equalPair([a, b]: readonly [string, string]): boolean {
  return a === b;
}

const latin1 = new TextDecoder("latin1");

/** A text that fits in memory, line by line; undefined for anything else. */
export async function textLines({ a, b }: Pair): Promise<[readonly string[], readonly string[]] | undefined> {
  if (a.size > HELD || b.size > HELD) return undefined;
  const bytes = [await a.read(0, a.size), await b.read(0, b.size)] as const;
  if (bytes.some((side) => side.includes(0))) return undefined;
  return [latin1.decode(bytes[0]).split("\n"), latin1.decode(bytes[1]).split("\n")];
}

/** Texts: dates, paths and ids in lines that otherwise agree; the same lines in another order. */
export const explainText: ContentRule = async (pair) => {
  const lines = await textLines(pair);
  if (lines === undefined) return undefined;
  const [a, b] = lines;
  if (same(a.map(withoutReturn), b.map(withoutReturn))) return [found("line-endings", "CR LF and LF")];
  if (a.length === b.length && same([...a].sort(), [...b].sort())) return [found("line-order", `from line ${firstDifference(a, b) + 1}`)];
  if (a.length !== b.length) return undefined;
  const causes: FoundCause[] = [];
  for (const [i, left] of a.entries()) {
    const right = b[i] ?? "";
    if (left === right) continue;
    const detail = `line ${i + 1}: ${quote(left, right)}`;
    const codes = causesOfText(left, right);
    causes.push(...(codes.length === 0 ? [found("unknown", detail)] : codes.map((code) => found(code, detail))));
  }
  return distinct(causes);
};

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}

function firstDifference(a: readonly string[], b: readonly string[]): number {
  return a.findIndex((line, i) => line !== b[i]);
}

const QUOTED = 60;

/** Both texts from a little before their first difference on. */
function quote(a: string, b: string): string {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const from = Math.max(0, at - 20);
  const cut = (text: string): string =>
    JSON.stringify(`${from > 0 ? "…" : ""}${printable(text.slice(from, from + QUOTED))}${text.length > from + QUOTED ? "…" : ""}`);
  return `${cut(a)} and ${cut(b)}`;
}

/** `/etc/shadow`: lines that agree but for the third field. */
export const explainShadow: ContentRule = async (pair) => {
  if (!/(^|\/)etc\/shadow$/.test(pair.path)) return undefined;
  const lines = await textLines(pair);
  if (lines === undefined) return undefined;
  const [a, b] = lines.map((side) => side.map((line) => line.replace(/^([^:]*:[^:]*:)[0-9]+:/, "$1:"))) as [string[], string[]];
  if (!same(a, b)) return undefined;
  const at = firstDifference(lines[0], lines[1]);
  return [found("shadow-date", `line ${at + 1}: day ${lines[0][at]?.split(":")[2]} and ${lines[1][at]?.split(":")[2]}`)];
};

/** How far a text reaches to either side of a difference, and how many differences are looked at. */
const REACH = 256;
const MOST = 1000;

/**
 * Texts inside of binary contents of one size: what stands around each difference, if it is printable there.
 * @returns causes, `unknown` among them where a difference is no text that is known.
 */
export async function explainTextInside({ a, b }: Pair, where = ""): Promise<FoundCause[]> {
  const causes: FoundCause[] = [];
  let seen = 0;
  for await (const { start, end } of differingRanges(a, b)) {
    const unknown = found("unknown", `${where}from byte ${start} on`);
    if (++seen > MOST || end - start > REACH) return distinct([...causes, unknown]);
    const from = Math.max(0, start - REACH);
    const until = Math.min(a.size, end + REACH);
    const texts = [await a.read(from, until), await b.read(from, until)].map((bytes) => printableAround(bytes, start - from, end - from));
    const [left, right] = texts;
    const codes = left === undefined || right === undefined ? [] : causesOfText(left, right);
    if (codes.length === 0) causes.push(unknown);
    for (const code of codes) causes.push(found(code, `${where}byte ${start}: ${quote(left ?? "", right ?? "")}`));
  }
  return distinct(causes);
}

/** The printable text that holds these bytes; undefined when they are not printable themselves. */
function printableAround(bytes: Uint8Array, start: number, end: number): string | undefined {
  const isPrintable = (i: number): boolean => {
    const byte = bytes[i] ?? 0;
    return (byte >= 0x20 && byte <= 0x7e) || byte === 9;
  };
  for (let i = start; i < end; i++) if (!isPrintable(i)) return undefined;
  let from = start;
  let until = end;
  while (from > 0 && isPrintable(from - 1)) from--;
  while (until < bytes.length && isPrintable(until)) until++;
  return latin1.decode(bytes.subarray(from, until));
}

/** Contents of one size that are no text: texts inside. */
export const explainBinary: ContentRule = async (pair) => {
  if (pair.a.size !== pair.b.size) return undefined;
  const causes = await explainTextInside(pair);
  return causes.every(({ code }) => code === "unknown") ? undefined : causes;
};

/** What can be said where nothing is known. */
export async function unknownContent({ a, b }: Pair, offset: number): Promise<FoundCause> {
  const kind = kindOf(await headOf(a, 16));
  return found("unknown", `${kind === undefined ? "" : `${kind}, `}from byte ${offset} on (${a.size} and ${b.size} bytes)`);
}

const magics: readonly (readonly [string, string])[] = [
  ["\u007fELF", "an ELF file"],
  ["\u0089PNG", "a PNG image"],
  ["%PDF-", "a PDF"],
  ["SQLite format 3\0", "an SQLite database"],
  ["hsqs", "a squashfs"],
  ["#!", "a script"],
];

function kindOf(head: Uint8Array): string | undefined {
  const text = String.fromCharCode(...head);
  return magics.find(([magic]) => text.startsWith(magic))?.[1];
}
