// A small engine for the shapes of JSON documents: a check reports every problem with its JSON path (RFC 9535) and goes on.
import { clip } from "./clip.ts";
import type { OciErrorCode } from "./errors.ts";
import type { JsonObject, JsonValue } from "./json-read.ts";

/** Something that a document says wrongly. */
export interface Problem {
  readonly code: OciErrorCode;
  readonly sentence: string;
  /** The JSON path: `$.layers[0].digest`. */
  readonly field: string;
  readonly expected?: string;
  readonly found?: string;
}

export interface Report {
  problem(problem: Problem): void;
  /** A property that the specification does not know: allowed, but nothing checks it. */
  unknown(field: string): void;
}

export type Check = (value: JsonValue, field: string, report: Report) => void;

/** The JSON path of a member. */
export function memberPath(field: string, key: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `${field}.${clip(key)}` : `${field}[${clip(JSON.stringify(key))}]`;
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value as it is shown in a message: short, and on one line. */
export function show(value: JsonValue): string {
  return clip(JSON.stringify(value));
}

/** A value that `test` accepts; `expected` says which those are. */
export function where(test: (value: JsonValue) => boolean, expected: string, code: OciErrorCode = "BAD_DOCUMENT"): Check {
  return (value, field, report) => {
    if (!test(value)) report.problem({ code, sentence: "a value that the specification does not allow", field, expected, found: show(value) });
  };
}

export const text: Check = where((v) => typeof v === "string", "a string");
export const flag: Check = where((v) => typeof v === "boolean", "true or false");

export function matching(pattern: RegExp, expected: string, code?: OciErrorCode): Check {
  return where((v) => typeof v === "string" && pattern.test(v), expected, code);
}

export function list(item: Check): Check {
  return (value, field, report) => {
    if (Array.isArray(value)) for (const [i, member] of value.entries()) item(member, `${field}[${i}]`, report);
    else wrongKind("an array", value, field, report);
  };
}

/** An object whose keys are free and not empty, and whose values are alike. */
export function map(item: Check): Check {
  return (value, field, report) => {
    if (!isObject(value)) {
      wrongKind("an object", value, field, report);
      return;
    }
    for (const [key, member] of Object.entries(value)) {
      if (key === "") report.problem({ code: "BAD_DOCUMENT", sentence: "an empty key", field });
      item(member, memberPath(field, key), report);
    }
  };
}

export interface Shape {
  readonly required?: Readonly<Record<string, Check>>;
  readonly optional?: Readonly<Record<string, Check>>;
  /** Keys of another kind of document, whose presence makes the document two things at once. */
  readonly forbidden?: readonly string[];
  /** Whether null stands for an optional member's absence. */
  readonly nullable?: boolean;
}

/** An object with known keys. Others are allowed, unless a reader that ignores case (Go's) would take one for a known one. */
export function object(shape: Shape): Check {
  const required = Object.entries(shape.required ?? {});
  const known = new Map([...required, ...Object.entries(shape.optional ?? {})]);
  const folded = new Map([...known.keys(), ...(shape.forbidden ?? [])].map((key) => [fold(key), key]));
  return (value, field, report) => {
    if (!isObject(value)) {
      wrongKind("an object", value, field, report);
      return;
    }
    for (const [key, member] of Object.entries(value)) {
      const at = memberPath(field, key);
      const check = known.get(key);
      const like = folded.get(fold(key));
      if (shape.forbidden?.includes(key)) report.problem(ambiguous(at, `no property ${key} in this kind of document`));
      else if (check === undefined && like !== undefined) report.problem(ambiguous(at, `the spelling ${like}`));
      else if (check === undefined) report.unknown(at);
      else if (member !== null || shape.nullable !== true || shape.required?.[key] !== undefined) check(member, at, report);
    }
    for (const [key] of required) {
      if (!(key in value))
        report.problem({ code: "BAD_DOCUMENT", sentence: "a required property is missing", field: memberPath(field, key), found: "nothing" });
    }
  };
}

function ambiguous(field: string, expected: string): Problem {
  return { code: "AMBIGUOUS_DOCUMENT", sentence: "a property that readers would not agree on", field, expected, found: "the property" };
}

// Go's encoding/json matches keys by Unicode simple folding, where U+017F is an s and U+212A a k.
function fold(key: string): string {
  return key
    .replace(/\u017f/g, "s")
    .replace(/\u212a/g, "k")
    .toLowerCase();
}

function wrongKind(expected: string, value: JsonValue, field: string, report: Report): void {
  report.problem({ code: "BAD_DOCUMENT", sentence: "a value of the wrong kind", field, expected, found: show(value) });
}
