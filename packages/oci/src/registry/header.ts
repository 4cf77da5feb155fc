// The HTTP headers that a registry speaks with: challenges (RFC 9110 section 11.6.1), links (RFC 8288), and how far an upload is.
// All of them are a stranger's text: readers return what they understand, and never throw.

/** Longest header that is looked at, in characters. */
const MAX_HEADER = 16 << 10;

export interface Challenge {
  /** In lowercase. */
  readonly scheme: string;
  /** Names in lowercase; of a name that stands twice, the first. */
  readonly parameters: ReadonlyMap<string, string>;
}

const token68 = /[A-Za-z0-9\-._~+/]+=*/y;
const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
const space = /[ \t]*/y;

class Scanner {
  at = 0;
  readonly text: string;

  constructor(text: string) {
    this.text = text.length > MAX_HEADER ? "" : text;
  }

  take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }

  skip(character: string): boolean {
    this.take(space);
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  /** A token, or the content of a quoted string. */
  value(): string | undefined {
    this.take(space);
    return this.take(token)?.[0] ?? this.take(quoted)?.[1]?.replace(/\\(.)/g, "$1");
  }

  /** Skips a `token68`, if there is one; false when something follows that is no comma. */
  skipText(): boolean {
    this.take(space);
    this.take(token68);
    this.take(space);
    return this.at === this.text.length || this.text[this.at] === ",";
  }

  /** `name = value`, or undefined and nothing taken. */
  parameter(): readonly [name: string, value: string] | undefined {
    const start = this.at;
    this.take(space);
    const name = this.take(token)?.[0];
    if (name !== undefined && this.skip("=")) {
      const value = this.value();
      if (value !== undefined) return [name.toLowerCase(), value];
    }
    this.at = start;
    return undefined;
  }
}

/** The challenges of a `WWW-Authenticate` header, in order. What is no challenge ends the list. */
export function parseChallenges(header: string): readonly Challenge[] {
  const scanner = new Scanner(header);
  const found: Challenge[] = [];
  while (true) {
    while (scanner.skip(","));
    const scheme = scanner.take(token)?.[0].toLowerCase();
    if (scheme === undefined) return found;
    const parameters = new Map<string, string>();
    do {
      const parameter = scanner.parameter();
      if (parameter === undefined) break;
      if (!parameters.has(parameter[0])) parameters.set(...parameter);
    } while (scanner.skip(","));
    found.push({ scheme, parameters });
    // Instead of parameters a scheme may have one text of its own; anything else is not to be understood any more.
    if (parameters.size === 0 && !scanner.skipText()) return found;
  }
}

const target = /<([^<>"\s]*)>/y;

/** The target of the first link with `rel="next"`, as it stands in the header. */
export function parseNextLink(header: string): string | undefined {
  const scanner = new Scanner(header);
  do {
    scanner.take(space);
    const url = scanner.take(target)?.[1];
    if (url === undefined) return undefined;
    let rel: string | undefined;
    while (scanner.skip(";")) {
      const parameter = scanner.parameter();
      if (parameter?.[0] === "rel") rel ??= parameter[1];
    }
    if (
      rel
        ?.toLowerCase()
        .split(/[ \t]+/)
        .includes("next")
    )
      return url;
  } while (scanner.skip(","));
  return undefined;
}

/** How many bytes an upload has, by the `Range: 0-LAST` of its status. Registries write `0-0` for none as well as for one byte: none is taken. */
export function parseUploadRange(header: string): number | undefined {
  const last = /^(?:bytes=)?0-([0-9]{1,16})$/.exec(header)?.[1];
  if (last === undefined) return undefined;
  return last === "0" ? 0 : Number(last) + 1;
}

/** A media type without its parameters. */
export function bareMediaType(header: string): string {
  return (header.split(";")[0] ?? "").trim().toLowerCase();
}
