import { CoreError } from "./errors.ts";

/** What `mmdebstrap:SUITE?…` asks for; a list that is empty and a member that is undefined are left to mmdebstrap. */
export interface MmdebstrapSpec {
  readonly suite: string;
  /** Default: mmdebstrap's own, `debootstrap` (essential, required and important packages). */
  readonly variant: string | undefined;
  /** Packages besides the variant's, in the order given: apt's choices can depend on it. */
  readonly include: readonly string[];
  /** URLs, or lines of a sources.list that begin with `deb `. Default: Debian's mirror, updates and security. */
  readonly mirrors: readonly string[];
  readonly components: readonly string[];
  /** The first is the image's own, the others foreign ones. */
  readonly architectures: readonly string[];
  /** A file or folder of this machine with the keys that sign the mirrors. */
  readonly keyring: string | undefined;
  /** How the chroot is made. Default: mmdebstrap's own choice, `root` for root and `unshare` for others. */
  readonly mode: string | undefined;
}

const prefix = "mmdebstrap:";

// Nothing in a spec runs as code: no hooks, no --aptopt and --dpkgopt (both can name commands), no mode chrootless (it runs
// the packages' scripts on this machine), and of apt's options in a mirror's brackets none that turns signatures off.
const variants = ["extract", "custom", "essential", "apt", "required", "minbase", "buildd", "important", "debootstrap", "-", "standard"];
const modes = ["auto", "root", "unshare", "fakechroot"];

interface Rule {
  /** Whether one value is a list with commas. */
  readonly list: boolean;
  /** Whether the key may be given several times. */
  readonly repeat: boolean;
  readonly expected: string;
  readonly accepts: (value: string) => boolean;
}

const url = "(?:https?|file|copy)://[^\\s\\[\\]]+";
const aptOption = "(?:arch|signed-by|check-valid-until)=[^\\s\\[\\]]+";
const debLine = new RegExp(`^deb(?:-src)? (?:\\[ ?${aptOption}(?: ${aptOption})* ?\\] )?${url} [^\\s\\[\\]]+(?: [^\\s\\[\\]]+)*$`);

const rules: Readonly<Record<string, Rule>> = {
  variant: { list: false, repeat: false, expected: `one of ${variants.join(", ")}`, accepts: (value) => variants.includes(value) },
  include: {
    list: true,
    repeat: true,
    expected: "names of packages, each with :architecture and =version or /suite if need be",
    accepts: matches(/^[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?(?:[=/][A-Za-z0-9.+:~-]+)?$/),
  },
  mirror: {
    list: false,
    repeat: true,
    expected: "a URL of http, https, file or copy, or a line `deb [arch=… signed-by=… check-valid-until=…] URL SUITE COMPONENT`",
    accepts: (value) => (debLine.test(value) || new RegExp(`^${url}$`).test(value)) && !/[\0-\x1f\x7f]/.test(value),
  },
  components: { list: true, repeat: false, expected: "words such as main or non-free-firmware", accepts: matches(/^[a-z0-9][a-z0-9./+-]*$/) },
  architecture: { list: true, repeat: false, expected: "Debian's names such as amd64 or arm64", accepts: matches(/^[a-z0-9]+(?:-[a-z0-9]+)*$/) },
  keyring: { list: false, repeat: false, expected: "the path of a file or folder, from the root or from ./", accepts: matches(/^\.{0,2}\/[^"\0-\x1f\x7f]+$/) },
  mode: { list: false, repeat: false, expected: `one of ${modes.join(", ")}`, accepts: (value) => modes.includes(value) },
};

function matches(pattern: RegExp): (value: string) => boolean {
  return (value) => pattern.test(value);
}

/**
 * Reads `mmdebstrap:SUITE[?KEY=VALUE&…]` with the keys variant, include, mirror, components, architecture, keyring and mode.
 * Values are percent-decoded; a `+` is a plus, as in `libstdc++6`.
 * @throws CoreError BAD_SOURCE, naming the key, on whatever mmdebstrap could take for an option, a command or something else.
 */
export function parseMmdebstrapSpec(text: string): MmdebstrapSpec {
  if (!text.startsWith(prefix)) throw bad(text, undefined, `${prefix}SUITE`, text);
  const question = text.indexOf("?");
  const suite = decode(text, "suite", text.slice(prefix.length, question < 0 ? undefined : question));
  if (!/^[A-Za-z0-9][A-Za-z0-9._+-]*(?:\/[A-Za-z0-9][A-Za-z0-9._+-]*)*$/.test(suite)) {
    throw bad(text, "suite", "the name of a release such as bookworm", suite);
  }
  const values = new Map<string, string[]>();
  for (const pair of question < 0 ? [] : text.slice(question + 1).split("&")) {
    const equals = pair.indexOf("=");
    const key = equals < 0 ? pair : pair.slice(0, equals);
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule === undefined) throw bad(text, "key", `one of ${Object.keys(rules).join(", ")}`, key);
    const value = decode(text, key, equals < 0 ? "" : pair.slice(equals + 1));
    const given = rule.list ? value.split(",") : [value];
    for (const one of given) if (!rule.accepts(one)) throw bad(text, key, rule.expected, one);
    const before = values.get(key);
    if (before !== undefined && !rule.repeat) throw bad(text, key, "the key once", "it twice");
    values.set(key, [...(before ?? []), ...given]);
  }
  return {
    suite,
    variant: values.get("variant")?.[0],
    include: values.get("include") ?? [],
    mirrors: values.get("mirror") ?? [],
    components: values.get("components") ?? [],
    architectures: values.get("architecture") ?? [],
    keyring: values.get("keyring")?.[0],
    mode: values.get("mode")?.[0],
  };
}

/** The arguments to give to mmdebstrap so that it writes the tar of this spec to standard output. */
export function mmdebstrapArguments(spec: MmdebstrapSpec): string[] {
  const option = (name: string, value: string | undefined): string[] => (value === undefined || value === "" ? [] : [`--${name}=${value}`]);
  return [
    "--format=tar",
    ...option("mode", spec.mode),
    ...option("variant", spec.variant),
    ...option("include", spec.include.join(",")),
    ...option("components", spec.components.join(",")),
    ...option("architectures", spec.architectures.join(",")),
    ...option("keyring", spec.keyring),
    "--",
    spec.suite,
    "-",
    ...spec.mirrors,
  ];
}

function decode(text: string, key: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw bad(text, key, "a percent sign before two hexadecimal digits of UTF-8", value);
  }
}

function bad(text: string, field: string | undefined, expected: string, found: string): CoreError {
  return new CoreError("BAD_SOURCE", `not a spec for mmdebstrap: ${JSON.stringify(text)}`, {
    ...(field === undefined ? {} : { field }),
    expected,
    found: JSON.stringify(found),
    hint: "For example mmdebstrap:bookworm?variant=minbase&include=ca-certificates",
  });
}
