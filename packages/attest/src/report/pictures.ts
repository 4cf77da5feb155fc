// The disk drawn: where its partitions lie, and which ranges of each tree and its data are bad.

import type { DiskFinding, DiskVerification, VerifiedPair } from "@imgkit/disk";
import { type Content, element, type Markup } from "./markup.ts";

const WIDTH = 960;
const BAR = 44;
const ROW = 16;
const STEP = 22;
const LABEL = 96;

/** A run of the disk, in bytes, and where it is drawn, in units of the picture. */
interface Segment {
  readonly start: number;
  readonly end: number;
  readonly kind: "data" | "tree" | "open" | "gap";
  readonly label: string;
  readonly title: string;
  x: number;
  width: number;
}

/** The partitions in their order, as wide as they are large: the small ones wider, so that each can be seen. */
export function partitionMap(disk: DiskVerification): Markup {
  const segments = placed(segmentsOf(disk));
  const bars = segments.map(({ x, width, kind, label, title }) => [
    element("rect", { x: round(x), y: 0, width: round(width), height: BAR, class: kind }, element("title", {}, title)),
    width < 9 * label.length ? undefined : element("text", { x: round(x + width / 2), y: BAR / 2 + 4, "text-anchor": "middle" }, label),
  ]);
  const marks = disk.findings.map((finding) => mark(segments, finding));
  return picture(BAR + 14, "the partitions of the disk", [bars, marks]);
}

function segmentsOf({ size, partitions, pairs }: DiskVerification): Segment[] {
  const kinds = new Map<number, Segment["kind"]>(
    pairs.flatMap(({ data, verity }) => [
      [data, "data"],
      [verity, "tree"],
    ]),
  );
  const segments: Segment[] = [];
  let at = 0;
  const gap = (end: number): void => {
    if (end > at) segments.push({ start: at, end, kind: "gap", label: "", title: `bytes ${at} to ${end}: no partition`, x: 0, width: 0 });
  };
  for (const { number, typeName, name, offset, size: length } of partitions.toSorted((a, b) => a.offset - b.offset)) {
    gap(offset);
    const title = `partition ${number}, ${typeName} ${name}: bytes ${offset} to ${offset + length}`;
    segments.push({ start: offset, end: offset + length, kind: kinds.get(number) ?? "open", label: `${number} ${typeName}`, title, x: 0, width: 0 });
    at = Math.max(at, offset + length);
  }
  gap(size);
  return segments;
}

function placed(segments: Segment[]): Segment[] {
  const least = ({ kind }: Segment): number => Math.min(kind === "gap" ? 4 : 24, WIDTH / segments.length);
  const free = WIDTH - segments.reduce((sum, segment) => sum + least(segment), 0);
  const total = segments.reduce((sum, { start, end }) => sum + end - start, 0);
  let x = 0;
  for (const segment of segments) {
    segment.x = x;
    segment.width = least(segment) + (total === 0 ? 0 : (free * (segment.end - segment.start)) / total);
    x += segment.width;
  }
  return segments;
}

/** A triangle below the place of a finding. */
function mark(segments: readonly Segment[], { offset, message }: DiskFinding): Content {
  const segment = segments.find(({ start, end }) => offset >= start && offset < end) ?? segments.at(-1);
  if (segment === undefined) return undefined;
  const share = segment.end === segment.start ? 0 : Math.min(1, Math.max(0, (offset - segment.start) / (segment.end - segment.start)));
  const x = segment.x + share * segment.width;
  const points = `${round(x)},${BAR + 1} ${round(x - 5)},${BAR + 12} ${round(x + 5)},${BAR + 12}`;
  return element("polygon", { points, class: "bad" }, element("title", {}, message));
}

/** A row for each level of the tree, the top first, and one for the data; what is bad is red. Undefined where the tree could not be laid out. */
export function treePicture(pair: VerifiedPair, findings: readonly DiskFinding[]): Markup | undefined {
  if (pair.tree === undefined) return undefined;
  const { levels, data } = pair.tree;
  const rows = [...levels.map((level, i) => ({ name: `level ${levels.length - 1 - i}`, ...level, kind: "tree" })), { name: "data", ...data, kind: "data" }];
  const about = findings.filter(({ partition }) => partition === pair.data || partition === pair.verity);
  const drawn = rows.map(({ name, offset, size, kind }, i) => {
    const y = i * STEP;
    const title = `${name}: ${size} bytes at byte ${offset} of the disk`;
    const bar = element("rect", { x: LABEL, y, width: WIDTH - LABEL, height: ROW, class: kind }, element("title", {}, title));
    const bad = about.map((finding) => badRange(finding, { offset, size, y }));
    return [element("text", { x: 0, y: y + 13 }, name), bar, bad];
  });
  return picture(rows.length * STEP, `the tree of partition ${pair.data}`, drawn);
}

function badRange({ offset, length, message }: DiskFinding, row: { readonly offset: number; readonly size: number; readonly y: number }): Content {
  const start = Math.max(offset, row.offset);
  const end = Math.min(offset + length, row.offset + row.size);
  if (start >= end) return undefined;
  const scale = (WIDTH - LABEL) / row.size;
  // However small it is, it can be seen.
  const width = Math.max(3, (end - start) * scale);
  const x = Math.min(LABEL + (start - row.offset) * scale, WIDTH - width);
  return element("rect", { x: round(x), y: row.y, width: round(width), height: ROW, class: "bad" }, element("title", {}, message));
}

function picture(height: number, title: string, content: Content): Markup {
  return element("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title }, content);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
