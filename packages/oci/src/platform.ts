// Platforms are named as Go names them (GOOS, GOARCH), which image-spec's image-index.md asks for.
import { OciError } from "./errors.ts";
import type { ImageConfig, Platform } from "./types.ts";

const systems = [
  "aix",
  "android",
  "darwin",
  "dragonfly",
  "freebsd",
  "illumos",
  "ios",
  "js",
  "linux",
  "netbsd",
  "openbsd",
  "plan9",
  "solaris",
  "wasip1",
  "windows",
];

const architectures = [..."386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm".split(" ")];

/** Names of Debian, Linux and compilers that people type, and what Go calls them. */
const aliases: Readonly<Record<string, string>> = {
  aarch64: "arm64",
  "arm64-v8": "arm64/v8",
  armel: "arm/v5",
  armhf: "arm/v7",
  armv7l: "arm/v7",
  i386: "386",
  i686: "386",
  loongarch64: "loong64",
  ppc64el: "ppc64le",
  "x86-64": "amd64",
  x86_64: "amd64",
};

/** Variants that exist, by architecture; for those that are not listed there is none. */
const variants: Readonly<Record<string, RegExp>> = {
  amd64: /^v[1-4]$/,
  arm: /^v[5-8]$/,
  arm64: /^v[89](\.[0-9])?$/,
  ppc64le: /^power(8|9|10)$/,
  riscv64: /^rva2[0-9]u64$/,
};

/**
 * Reads `OS/ARCH` or `OS/ARCH/VARIANT`. What was written stays: `linux/arm64/v8` and `linux/arm64` are one machine and two texts.
 * @throws OciError BAD_PLATFORM when a part is unknown; the hint names Go's word for a well-known other name.
 */
export function parsePlatform(text: string): Platform {
  const [os = "", architecture = "", variant, ...rest] = text.split("/");
  if (architecture === "" || rest.length > 0) throw refusal(text, "OS/ARCH or OS/ARCH/VARIANT", text, "For example linux/amd64.");
  return checkPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
}

/**
 * Checks a platform that is to be written.
 * @throws OciError BAD_PLATFORM.
 */
export function checkPlatform(platform: Platform): Platform {
  const { os, architecture, variant } = platform;
  const whole = formatPlatform(platform);
  if (!systems.includes(os)) throw refusal(whole, `an operating system of ${systems.join(", ")}`, os);
  if (!architectures.includes(architecture)) {
    const alias = aliases[architecture];
    const hint = alias === undefined ? undefined : `Write ${os}/${alias}: images use Go's names.`;
    throw refusal(whole, `an architecture of ${architectures.join(", ")}`, architecture, hint);
  }
  if (variant !== undefined && variants[architecture]?.test(variant) !== true) throw refusal(whole, `a variant that ${architecture} has`, variant);
  return platform;
}

/**
 * Holds what an image's config says of its platform to the one that is wanted; where one of them has no variant, any will do.
 * @throws OciError NO_SUCH_IMAGE
 */
export function requirePlatform(config: ImageConfig, wanted: Platform, path: string): void {
  const { os, architecture, variant } = config;
  const known = typeof variant === "string";
  if (os === wanted.os && architecture === wanted.architecture && (!known || wanted.variant === undefined || variant === wanted.variant)) return;
  const found = formatPlatform({ os, architecture, ...(known ? { variant } : {}) });
  throw new OciError("NO_SUCH_IMAGE", "an image for another platform", { path, field: "$.os, $.architecture", expected: formatPlatform(wanted), found });
}

/** `OS/ARCH[/VARIANT]` */
export function formatPlatform(platform: Pick<Platform, "os" | "architecture" | "variant">): string {
  const { os, architecture, variant } = platform;
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

function refusal(path: string, expected: string, found: string, hint?: string): OciError {
  return new OciError("BAD_PLATFORM", `not a platform: ${path}`, { expected, found: JSON.stringify(found), ...(hint === undefined ? {} : { hint }) });
}
