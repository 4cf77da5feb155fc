// What a package or the world asks for: [!]NAME[OP VERSION][@PIN], as apk-tools and apko read it.
import { ApkError } from "./errors.ts";
import { compareVersions, isWithin, parseVersion, type Version } from "./version.ts";

export type Operator = "any" | "=" | "<" | "<=" | ">" | ">=" | "~" | "<~" | ">~" | "><";

export interface Dependency {
  /** As it was written. */
  readonly text: string;
  readonly name: string;
  readonly operator: Operator;
  /** Present for every operator but `any`; for `><` it is a checksum, not a version. */
  readonly version?: Version;
  /** `><`: the checksum of the very package, `Q1…`. */
  readonly checksum?: string;
  /** `!`: nothing that matches may be installed. */
  readonly conflict: boolean;
  /** The tag of the repositories that may serve it. */
  readonly pin?: string;
}

const shape = /^(!?)([^\s!<>=~@][^\s<>=~@]*)(?:([<>=~]+)([^\s<>=~@]+))?(?:@([A-Za-z0-9._-]+))?$/;
const operators: Readonly<Record<string, Operator>> = {
  "=": "=",
  "<": "<",
  "<=": "<=",
  "=<": "<=",
  ">": ">",
  ">=": ">=",
  "=>": ">=",
  "~": "~",
  "~=": "~",
  "=~": "~",
  "<~": "<~",
  ">~": ">~",
  "><": "><",
};

/** @throws ApkError BAD_DEPENDENCY, BAD_VERSION */
export function parseDependency(text: string): Dependency {
  const match = text.length > 1024 ? null : shape.exec(text);
  const [, bang = "", name = "", written, value, pin] = match ?? [];
  const operator = written === undefined ? "any" : operators[written];
  if (match === null || operator === undefined) {
    throw new ApkError("BAD_DEPENDENCY", "not a dependency", { expected: "[!]NAME[OPERATOR VERSION][@PIN]", found: JSON.stringify(text.slice(0, 200)) });
  }
  const common = { text, name, operator, conflict: bang === "!", ...(pin === undefined ? {} : { pin }) };
  if (operator === "any" || value === undefined) return common;
  if (operator === "><") return { ...common, checksum: value };
  return { ...common, version: parseVersion(value) };
}

/** What a package has to offer under a name. */
export interface Provide {
  readonly name: string;
  /** Absent for a virtual name, which several installed packages may provide at once. */
  readonly version?: Version;
}

/** @throws ApkError BAD_DEPENDENCY, BAD_VERSION */
export function parseProvide(text: string): Provide {
  const { name, operator, version, conflict } = parseDependency(text);
  if (conflict || (operator !== "any" && operator !== "=")) {
    throw new ApkError("BAD_DEPENDENCY", "not something that a package can provide", {
      expected: "NAME or NAME=VERSION",
      found: JSON.stringify(text.slice(0, 200)),
    });
  }
  return { name, ...(version === undefined ? {} : { version }) };
}

/**
 * Whether what is provided under the dependency's name is of a version that it asks for. A name without a version satisfies no
 * version, and conflicts with each: so what is found holds by apk-tools, which lets it satisfy all, and by apko, which lets it satisfy none.
 */
export function versionMatches(dependency: Dependency, provided: Version | undefined, checksum: string): boolean {
  const { operator, version, conflict } = dependency;
  if (operator === "any") return true;
  if (operator === "><") return dependency.checksum === checksum;
  if (provided === undefined || version === undefined) return conflict;
  if (operator === "~") return isWithin(provided, version);
  const order = compareVersions(provided, version);
  const within = operator.endsWith("~") && isWithin(provided, version);
  if (operator.startsWith("<")) return order < 0 || within || (operator === "<=" && order === 0);
  if (operator.startsWith(">")) return order > 0 || within || (operator === ">=" && order === 0);
  return order === 0;
}
