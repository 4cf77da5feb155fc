// JSON by RFC 8259, read more strictly than JSON.parse: two readers must never see two documents in the same bytes.
// image-spec's considerations.md forbids duplicate keys; JSON.parse silently takes the last of them, other readers the first.
import { clip } from "./clip.ts";
import { OciError, type OciErrorCode } from "./errors.ts";

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;

/** A JSON object. Those that `parseJson` makes have no prototype, so that a key `__proto__` is a key like any other. */
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export interface ParseJsonOptions {
  /** Named in errors. */
  readonly path?: string;
  /** Limit of the document in bytes; default 4 MiB, what registries and containerd accept as a manifest. */
  readonly maxSize?: number;
  /** Limit of nesting; default 64. */
  readonly maxDepth?: number;
}

/** The largest manifest, index or config that is read: 4 MiB. */
export const MAX_DOCUMENT: number = 4 << 20;

/**
 * Reads one JSON text.
 * @throws OciError JSON_LIMIT (size, depth), JSON_ENCODING (not UTF-8, a byte order mark, a lone surrogate),
 * JSON_DUPLICATE_KEY (compared after unescaping), JSON_NUMBER (an integer beyond 2^53 − 1 either way, −0, an integer written
 * with a fraction or an exponent, a number beyond a double), JSON_SYNTAX (everything else, trailing data included); each with the
 * byte offset.
 */
export function parseJson(bytes: Uint8Array, options: ParseJsonOptions = {}): JsonValue {
  const { maxSize = MAX_DOCUMENT, maxDepth = 64, path } = options;
  const reader = new Reader(bytes, maxDepth, path);
  if (bytes.length > maxSize) reader.fail("JSON_LIMIT", "the document is too large", 0, `at most ${maxSize} bytes`, `${bytes.length}`);
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) reader.fail("JSON_ENCODING", "the document starts with a byte order mark", 0);
  const value = reader.value(0);
  reader.space();
  if (reader.at < bytes.length) reader.fail("JSON_SYNTAX", "data after the end of the document", reader.at);
  return value;
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const numberPattern = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const escapes: Readonly<Record<string, string>> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #maxDepth: number;
  readonly #path: string | undefined;

  constructor(bytes: Uint8Array, maxDepth: number, path: string | undefined) {
    this.#bytes = bytes;
    this.#maxDepth = maxDepth;
    this.#path = path;
  }

  fail(code: OciErrorCode, sentence: string, offset: number, expected?: string, found?: string): never {
    throw new OciError(code, sentence, {
      offset,
      ...(this.#path === undefined ? {} : { path: this.#path }),
      ...(expected === undefined ? {} : { expected }),
      ...(found === undefined ? {} : { found }),
    });
  }

  space(): void {
    while (true) {
      const byte = this.#bytes[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.at++;
    }
  }

  value(depth: number): JsonValue {
    this.space();
    const byte = this.#bytes[this.at];
    if ((byte === OPEN_OBJECT || byte === OPEN_LIST) && depth >= this.#maxDepth) {
      this.fail("JSON_LIMIT", "the document is nested too deeply", this.at, `at most ${this.#maxDepth} levels`);
    }
    switch (byte) {
      case OPEN_OBJECT:
        return this.object(depth);
      case OPEN_LIST:
        return this.list(depth);
      case QUOTE:
        return this.string();
      default:
        return this.scalar();
    }
  }

  object(depth: number): JsonObject {
    const out: Record<string, JsonValue> = Object.create(null);
    this.at++;
    this.space();
    if (this.take(CLOSE_OBJECT)) return out;
    do {
      this.space();
      const start = this.at;
      if (this.#bytes[start] !== QUOTE) this.unexpected("a key in quotes");
      const key = this.string();
      if (key in out) this.fail("JSON_DUPLICATE_KEY", `the key ${clip(JSON.stringify(key))} stands twice in one object`, start);
      this.space();
      if (!this.take(COLON)) this.unexpected('":"');
      out[key] = this.value(depth + 1);
      this.space();
    } while (this.take(COMMA));
    if (!this.take(CLOSE_OBJECT)) this.unexpected('"," or "}"');
    return out;
  }

  list(depth: number): JsonValue[] {
    const out: JsonValue[] = [];
    this.at++;
    this.space();
    if (this.take(CLOSE_LIST)) return out;
    do {
      out.push(this.value(depth + 1));
      this.space();
    } while (this.take(COMMA));
    if (!this.take(CLOSE_LIST)) this.unexpected('"," or "]"');
    return out;
  }

  string(): string {
    const start = this.at++;
    let text = "";
    let from = this.at;
    while (true) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) this.fail("JSON_SYNTAX", "the document ends inside a string", this.at);
      if (byte < 0x20) this.fail("JSON_SYNTAX", "a control character in a string", this.at, "an escape such as \\n", `byte 0x${byte.toString(16)}`);
      if (byte !== QUOTE && byte !== BACKSLASH) {
        this.at++;
        continue;
      }
      text += this.utf8(from, this.at);
      this.at++;
      if (byte === QUOTE) break;
      text += this.escape();
      from = this.at;
    }
    // Go replaces a lone surrogate by U+FFFD and Python keeps it: two keys for one reader, one for the other.
    if (/\p{Surrogate}/u.test(text)) this.fail("JSON_ENCODING", "a string holds half of a surrogate pair", start);
    return text;
  }

  utf8(from: number, to: number): string {
    try {
      return strictUtf8.decode(this.#bytes.subarray(from, to));
    } catch {
      return this.fail("JSON_ENCODING", "a string is not UTF-8", from);
    }
  }

  escape(): string {
    const letter = String.fromCharCode(this.#bytes[this.at++] ?? 0);
    const simple = escapes[letter];
    if (simple !== undefined) return simple;
    const hex = String.fromCharCode(...this.#bytes.subarray(this.at, this.at + 4));
    if (letter !== "u" || !/^[0-9a-fA-F]{4}$/.test(hex)) this.fail("JSON_SYNTAX", "an unknown escape in a string", this.at - 2);
    this.at += 4;
    return String.fromCharCode(Number.parseInt(hex, 16));
  }

  scalar(): JsonValue {
    const start = this.at;
    while (/[-+.0-9a-zA-Z]/.test(String.fromCharCode(this.#bytes[this.at] ?? 0))) this.at++;
    const text = String.fromCharCode(...this.#bytes.subarray(start, Math.min(this.at, start + 1000)));
    if (text === "true") return true;
    if (text === "false") return false;
    if (text === "null") return null;
    if (numberPattern.test(text)) return this.number(text, start);
    this.at = start;
    return this.unexpected("a value");
  }

  number(text: string, start: number): number {
    const value = Number(text);
    const plain = /^-?[0-9]+$/.test(text);
    const exact = plain ? Number.isSafeInteger(value) && !Object.is(value, -0) : Number.isFinite(value) && !Number.isInteger(value);
    if (!exact) {
      this.fail("JSON_NUMBER", "a number that readers would not agree on", start, "an integer of at most 2^53 - 1 in plain digits, or a fraction", clip(text));
    }
    return value;
  }

  take(byte: number): boolean {
    if (this.#bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  unexpected(expected: string): never {
    const byte = this.#bytes[this.at];
    if (byte === undefined) this.fail("JSON_SYNTAX", "the document ends too early", this.at, expected, "the end");
    this.fail("JSON_SYNTAX", "not JSON", this.at, expected, byte > 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte 0x${byte.toString(16)}`);
  }
}
