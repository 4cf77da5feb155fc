/** What an error can say besides its sentence. Every member that is present becomes part of the one-line message. */
export interface ErrorFacts {
  /** The file or path inside a tree or archive that the error is about. */
  readonly path?: string;
  /** Where in that file, in bytes from its start. */
  readonly offset?: number | bigint;
  /** The field of the format, by the name its specification gives it. */
  readonly field?: string;
  readonly expected?: string;
  readonly found?: string;
  /** What the reader of the message can do about it, as a sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** `input`: the caller's data or arguments are wrong (exit code 2). `system`: the host failed (exit code 3). */
export type ErrorKind = "input" | "system";

/**
 * Base of every package's error class. `code` is stable and meant for programs; `message` is one line meant for people:
 * `PATH: sentence (at byte N; field F; expected X, found Y). HINT`.
 */
export class ImgkitError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly kind: ErrorKind;
  /** What was wrong, without the facts: for whoever knows one more and throws the error again. */
  readonly sentence: string;
  readonly facts: ErrorFacts;

  constructor(code: Code, sentence: string, facts: ErrorFacts = {}, kind: ErrorKind = "input") {
    super(formatMessage(sentence, facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = new.target.name;
    this.code = code;
    this.kind = kind;
    this.sentence = sentence;
    this.facts = facts;
  }
}

function formatMessage(sentence: string, facts: ErrorFacts): string {
  const where: string[] = [];
  if (facts.offset !== undefined) where.push(`at byte ${facts.offset}`);
  if (facts.field !== undefined) where.push(`field ${facts.field}`);
  const values: string[] = [];
  if (facts.expected !== undefined) values.push(`expected ${facts.expected}`);
  if (facts.found !== undefined) values.push(`found ${facts.found}`);
  if (values.length > 0) where.push(values.join(", "));
  const detail = where.length > 0 ? ` (${where.join("; ")})` : "";
  const prefix = facts.path === undefined ? "" : `${printable(facts.path)}: `;
  const hint = facts.hint === undefined ? "" : `. ${facts.hint}`;
  return `${prefix}${printable(sentence)}${printable(detail)}${printable(hint)}`;
}

/**
 * Replaces what could move a terminal's cursor or forge a second line: control characters become `\xNN`, lone surrogates
 * (bytes that were no UTF-8, see `text.ts`) become the `\xNN` of their byte. Names from an archive are a stranger's text.
 */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\p{Surrogate}\u202a-\u202e\u2066-\u2069]/gu, (c) => {
    const code = c.charCodeAt(0);
    const byte = code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : code;
    return byte <= 0xff ? `\\x${byte.toString(16).padStart(2, "0")}` : `\\u{${byte.toString(16)}}`;
  });
}

export type BytesErrorCode =
  | "BAD_HEX"
  | "BAD_BASE64"
  | "BAD_GUID"
  | "FIELD_RANGE"
  | "SHORT_STRUCT"
  | "SHORT_READ"
  | "RANGE_OUTSIDE_SOURCE"
  | "SOURCE_CHANGED"
  | "HTTP_FAILED"
  | "NOT_FOUND"
  | "OUTPUT_FAILED"
  | "READ_FAILED";

export class BytesError extends ImgkitError<BytesErrorCode> {}
