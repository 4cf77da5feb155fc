// The members of a document that a YAML reader gave, checked one by one.
import { ApkError } from "../errors.ts";

/** A value in an error: whatever a YAML reader gives, circles and BigInts too. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "object") return Array.isArray(value) ? "a list" : "a map";
  return typeof value === "string" ? JSON.stringify(value.slice(0, 200)) : String(value).slice(0, 200);
}

type Members = Readonly<Record<string, unknown>>;

/** Takes values out of a document; each method names what it refuses. */
export class MemberReader {
  readonly #name: string;
  readonly #unsupported: Readonly<Record<string, string>>;

  /** `name` is the file's, in errors; `unsupported` has what members are called that are known and not done, by their path. */
  constructor(name: string, unsupported: Readonly<Record<string, string>>) {
    this.#name = name;
    this.#unsupported = unsupported;
  }

  refuse(field: string, expected: string, found: unknown): never {
    throw new ApkError("BAD_CONFIG", "not an apko configuration", {
      path: this.#name,
      field,
      expected,
      found: shown(found),
    });
  }

  /** An object with no other members than these; absent is empty. */
  members(value: unknown, where: string, allowed: readonly string[]): Members {
    if (value === undefined || value === null) return {};
    if (typeof value !== "object" || Array.isArray(value)) this.refuse(where, "a map", value);
    for (const key of Object.keys(value)) {
      const field = where === "" ? key : `${where}.${key}`;
      const what = Object.hasOwn(this.#unsupported, field) ? this.#unsupported[field] : undefined;
      if (what !== undefined)
        throw new ApkError("UNSUPPORTED", `${what} is not supported`, { path: this.#name, field, hint: "Leave it out, or build with apko." });
      if (!allowed.includes(key)) this.refuse(field, `one of ${allowed.join(", ")}`, key);
    }
    return value as Members;
  }

  list(value: unknown, field: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    return Array.isArray(value) ? value : this.refuse(field, "a list", value);
  }

  texts(value: unknown, field: string): string[] {
    return this.list(value, field).map((item, i) => this.text(item, `${field}[${i}]`));
  }

  text(value: unknown, field: string): string {
    return typeof value === "string" && value !== "" && !/[\0\n]/.test(value) ? value : this.refuse(field, "a text of one line", value);
  }

  maybe<K extends string>(key: K, value: unknown, field: string): { [k in K]?: string } {
    return (value === undefined || value === null ? {} : { [key]: this.text(value, field) }) as { [k in K]?: string };
  }

  map(value: unknown, field: string): Record<string, string> {
    if (value === undefined || value === null) return {};
    if (typeof value !== "object" || Array.isArray(value)) return this.refuse(field, "a map", value);
    return Object.fromEntries(
      Object.entries(value).map(([key, text]) => [key, typeof text === "string" ? text : this.refuse(`${field}.${key}`, "a text", text)]),
    );
  }

  number(value: unknown, field: string): number {
    return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff
      ? (value as number)
      : this.refuse(field, "a number from 0 to 4294967295", value);
  }

  id<K extends string>(key: K, value: unknown, field: string): { [k in K]?: number } {
    return (value === undefined || value === null ? {} : { [key]: this.number(value, field) }) as { [k in K]?: number };
  }

  /** What stands between colons of /etc/passwd. */
  account(value: unknown, field: string): string {
    const text = this.text(value, field);
    return text.includes(":") ? this.refuse(field, "a text without a colon", value) : text;
  }
}
