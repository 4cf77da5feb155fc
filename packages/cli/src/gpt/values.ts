import { parseUuid } from "@imgkit/bytes";
import { architectureTypes, commonTypes, partitionType, partitionTypeName } from "@imgkit/verity";
import { InvalidArgumentError } from "commander";
import { CliError } from "../errors.ts";
import { flagNames } from "./text.ts";

// What the words of `imgkit gpt edit` mean. All throw commander's error, which names the option.

/** A size in bytes, or in the sectors of a disk that is not known yet. */
export interface Amount {
  readonly text: string;
  readonly value: number;
  readonly sectors: boolean;
}

const units: Readonly<Record<string, number>> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** `512M`, `512MiB`, `1048576` (bytes) or `2048s` (sectors). */
export function parseAmount(text: string): Amount {
  const [, digits = "", unit = "", binary] = /^([0-9]{1,16})([KMGTs]?)(iB)?$/.exec(text) ?? [];
  const value = Number(digits) * (units[unit] ?? 1);
  if (digits === "" || (binary !== undefined && !/[KMGT]/.test(unit)) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("Expected a size such as 512M (binary: K, M, G, T), a number of bytes, or of sectors with an s.");
  }
  return { text, value, sectors: unit === "s" };
}

/** @throws CliError USAGE for bytes that are no whole number of sectors: nothing is rounded. */
export function sectorsOf({ text, value, sectors }: Amount, sectorSize: number): number {
  if (sectors) return value;
  if (value % sectorSize === 0) return value / sectorSize;
  const hint = `A number without a suffix counts bytes; with an s it counts sectors: ${value}s.`;
  throw new CliError("USAGE", "not a whole number of sectors", { expected: `a multiple of ${sectorSize} bytes`, found: text, hint });
}

/** A partition's number. */
export function parseNumber(text: string): number {
  if (!/^[1-9][0-9]{0,3}$/.test(text)) throw new InvalidArgumentError("Expected the number of a partition.");
  return Number(text);
}

/** `N:rest`, split at the first colon. */
export function parseNumbered(text: string): { readonly number: number; readonly rest: string } {
  const colon = text.indexOf(":");
  if (colon < 0) throw new InvalidArgumentError("Expected the number of a partition, a colon, and what to set.");
  return { number: parseNumber(text.slice(0, colon)), rest: text.slice(colon + 1) };
}

/** A type UUID from itself or from its name. */
export function parseType(text: string): string {
  const known = partitionType(text.toLowerCase());
  if (known !== undefined) return known;
  if (isUuid(text)) return text.toLowerCase();
  throw new InvalidArgumentError(`Expected a UUID or one of ${typeNames().join(", ")}.`);
}

function typeNames(): string[] {
  const types = Object.values(architectureTypes).flatMap(({ root, usr }) => [...Object.values(root), ...Object.values(usr)]);
  return [...Object.values(commonTypes), ...types].map((type) => partitionTypeName(type) ?? type);
}

export function parseGuidText(text: string): string {
  if (!isUuid(text)) throw new InvalidArgumentError("Expected a UUID.");
  return text.toLowerCase();
}

function isUuid(text: string): boolean {
  try {
    parseUuid(text);
    return true;
  } catch {
    return false;
  }
}

/** Attribute bits by name or number, joined by `+`. */
export function parseFlags(text: string): bigint {
  return text
    .split("+")
    .map((word) => {
      const named = flagNames[word];
      if (named !== undefined) return named;
      if (/^[0-9]{1,2}$/.test(word) && Number(word) < 64) return 1n << BigInt(word);
      throw new InvalidArgumentError(`Expected bits from 0 to 63 or ${Object.keys(flagNames).join(", ")}, joined by +.`);
    })
    .reduce((all, bit) => all | bit, 0n);
}

/** `key=value,key="value, with a comma"`; each key once, and only these. */
export function parseFields(text: string, keys: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>();
  const pattern = /([a-z]+)=(?:"([^"]*)"|([^",]*))(?:,|$)/gy;
  while (pattern.lastIndex < text.length) {
    const [, key = "", quoted, plain = ""] = pattern.exec(text) ?? [];
    if (!keys.includes(key)) throw new InvalidArgumentError(`Expected ${keys.map((k) => `${k}=…`).join(", ")}, separated by commas.`);
    if (fields.has(key)) throw new InvalidArgumentError(`There are two ${key}=.`);
    fields.set(key, quoted ?? plain);
  }
  return fields;
}
