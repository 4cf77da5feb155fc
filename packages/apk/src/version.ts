// Versions of apk packages, by apk-package(5): number{.number}…{letter}{_suffix{number}}…{~hash}{-r#}. They compare as apk-tools 3 does.
import { ApkError } from "./errors.ts";

// The kinds of parts in the order in which they may follow each other; the order also decides between versions that end differently.
const NUMBER = 0;
const NEXT_NUMBER = 1;
const LETTER = 2;
const SUFFIX = 3;
const SUFFIX_NUMBER = 4;
const HASH = 5;
const REVISION = 6;
const END = 7;

/** Suffixes in their order; those before `none` make a version older than the one without. */
const suffixes = ["alpha", "beta", "pre", "rc", "none", "cvs", "svn", "git", "hg", "p"];
const NONE = suffixes.indexOf("none");

interface Part {
  readonly kind: number;
  readonly text: string;
  /** Of numbers and suffixes. */
  readonly value: bigint;
}

const end: Part = { kind: END, text: "", value: 0n };

/** A version, taken apart. */
export interface Version {
  readonly text: string;
  readonly parts: readonly Part[];
}

/** The longest version that is taken apart: nothing real comes near it. */
const MAX_LENGTH = 256;

const shape = /^([0-9]+)((?:\.[0-9]+)*)([a-z]?)((?:_[a-z]+[0-9]*)*)(~[0-9a-f]+)?(?:-r([0-9]+))?$/;

/**
 * Takes a version apart.
 * @throws ApkError BAD_VERSION
 */
export function parseVersion(text: string): Version {
  const match = text.length > MAX_LENGTH ? null : shape.exec(text);
  if (match === null) throw badVersion(text);
  const [, first = "", more = "", letter = "", tail = "", hash, revision] = match;
  const number = (kind: number, digits: string): Part => ({ kind, text: digits, value: BigInt(digits) });
  const parts: Part[] = [number(NUMBER, first)];
  for (const digits of more.split(".").slice(1)) parts.push(number(NEXT_NUMBER, digits));
  if (letter !== "") parts.push({ kind: LETTER, text: letter, value: 0n });
  for (const [, name = "", digits = ""] of tail.matchAll(/_([a-z]+)([0-9]*)/g)) {
    const value = suffixes.indexOf(name);
    if (value < 0 || value === NONE) throw badVersion(text);
    parts.push({ kind: SUFFIX, text: name, value: BigInt(value) });
    if (digits !== "") parts.push(number(SUFFIX_NUMBER, digits));
  }
  if (hash !== undefined) parts.push({ kind: HASH, text: hash.slice(1), value: 0n });
  if (revision !== undefined) parts.push(number(REVISION, revision));
  return { text, parts };
}

function badVersion(text: string): ApkError {
  return new ApkError("BAD_VERSION", "not a version", {
    expected: "NUMBER{.NUMBER}{LETTER}{_SUFFIX{NUMBER}}{~HASH}{-rNUMBER}",
    found: JSON.stringify(text.slice(0, 100)),
  });
}

/** Below 0 when `a` is older than `b`, above 0 when it is newer. */
export function compareVersions(a: Version, b: Version): number {
  return compare(a, b, false);
}

/** Whether `b` is `a`, or leaves off at a part of it: what the operator `~` asks for. */
export function isWithin(a: Version, b: Version): boolean {
  return compare(a, b, true) === 0;
}

function compare(a: Version, b: Version, prefix: boolean): number {
  for (let i = 0; ; i++) {
    const [left, right] = [a.parts[i] ?? end, b.parts[i] ?? end];
    if (left.kind !== right.kind) return prefix && right.kind === END ? 0 : compareKinds(left, right);
    if (left.kind === END) return 0;
    const order = compareParts(left, right);
    if (order !== 0) return order;
  }
}

/** The version that goes on is the newer one, unless it goes on with what makes it a forerunner. */
function compareKinds(left: Part, right: Part): number {
  if (left.kind === SUFFIX && left.value < NONE) return -1;
  if (right.kind === SUFFIX && right.value < NONE) return 1;
  return right.kind - left.kind;
}

function compareParts(left: Part, right: Part): number {
  const asText = left.kind === LETTER || left.kind === HASH || (left.kind === NEXT_NUMBER && (left.text.startsWith("0") || right.text.startsWith("0")));
  // As Gentoo has it: 1.01 is older than 1.1.
  if (asText) return left.text < right.text ? -1 : Number(left.text > right.text);
  return left.value < right.value ? -1 : Number(left.value > right.value);
}
