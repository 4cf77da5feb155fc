import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import type { PackageInfo } from "../src/index.ts";

export interface Signer {
  readonly name: string;
  readonly pem: string;
  readonly key: KeyObject;
}

export function makeSigner(name: string): Signer {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { name, pem: publicKey.export({ type: "spki", format: "pem" }).toString(), key: privateKey };
}

/** A file's entry in a ustar archive, written here anew: these archives have no entry of a root, and names without `./`. */
function ustar(name: string, content: Uint8Array, link?: string, mode: number = /^\.(pre|post)-/.test(name) ? 0o755 : 0o644, time: number = 0): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  };
  header.write(name, 0, "latin1");
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(content.length, 124, 12);
  octal(time, 136, 12);
  // A name with a slash at its end is a folder.
  header.write(`        ${name.endsWith("/") ? "5" : "0"}`, 148, "latin1");
  if (link !== undefined) {
    header.write("2", 156, "latin1");
    header.write(link, 157, "latin1");
  }
  header.write("ustar\x0000", 257, "latin1");
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return Buffer.concat([header, content, Buffer.alloc(-content.length & 511)]);
}

/** The entry before a file's: a PAX record with the checksum that the package says it has. */
function record(checksum: string): Buffer {
  const body = ` APK-TOOLS.checksum.SHA1=${checksum}\n`;
  const header = ustar("pax", Buffer.from(`${body.length + 2}${body}`));
  header.write("x", 156, "latin1");
  header.write("        ", 148, "latin1");
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0`, 148, "latin1");
  return header;
}

/** The tar of some files, with the end of archive. */
export function tarOf(
  files: Readonly<Record<string, string>>,
  links: Readonly<Record<string, string>> = {},
  checksums: Readonly<Record<string, string>> = {},
): Buffer {
  return gunzipSync(member(files, true, links, {}, checksums));
}

/** A gzip member with the tar of some files; only the last has the end of archive. */
function member(
  files: Readonly<Record<string, string | Uint8Array>>,
  end: boolean,
  links: Readonly<Record<string, string>> = {},
  programs: Readonly<Record<string, Uint8Array>> = {},
  checksums: Readonly<Record<string, string>> = {},
  time: number = 0,
): Buffer {
  const entries = [
    ...Object.entries(links).map(([name, target]) => ustar(name, Buffer.alloc(0), target)),
    ...Object.entries(programs).map(([name, content]) => ustar(name, content, undefined, 0o755)),
    ...Object.entries(files).map(([name, content]) => {
      const file = ustar(name, Buffer.from(content), undefined, undefined, time);
      return checksums[name] === undefined ? file : Buffer.concat([record(checksums[name]), file]);
    }),
  ];
  return gzipSync(Buffer.concat([...entries, Buffer.alloc(end ? 1024 : 0)]));
}

export function signed(body: Buffer, signer: Signer, kind: "RSA" | "RSA256" = "RSA256", over: Buffer = body): Buffer {
  const signature = sign(kind === "RSA" ? "sha1" : "sha256", over, signer.key);
  return Buffer.concat([member({ [`.SIGN.${kind}.${signer.name}`]: signature }, false), body]);
}

/** The text of one package in an index. */
export function entry(info: Partial<PackageInfo> & { readonly name: string }): string {
  const { version = "1.0-r0", architecture = "x86_64", checksum = `Q1${createHash("sha1").update(info.name).digest("base64")}` } = info;
  const lines = [`C:${checksum}`, `P:${info.name}`, `V:${version}`, `A:${architecture}`];
  const list = (letter: string, values: readonly string[] | undefined): void => {
    if (values !== undefined && values.length > 0) lines.push(`${letter}:${values.join(" ")}`);
  };
  list("D", info.depends);
  list("p", info.provides);
  list("i", info.installIf);
  if (info.providerPriority !== undefined) lines.push(`k:${info.providerPriority}`);
  return `${lines.join("\n")}\n`;
}

export function indexFile(entries: readonly string[]): Buffer {
  return member({ DESCRIPTION: "test", APKINDEX: `${entries.join("\n")}\n` }, true);
}

export interface MadeApk {
  readonly bytes: Buffer;
  readonly checksum: string;
}

/** An .apk: `change` may alter the control member's text, `data` what stands in the data member after its hash was taken. */
export function makeApk(options: {
  readonly name: string;
  readonly signer?: Signer;
  readonly kind?: "RSA" | "RSA256";
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly links?: Readonly<Record<string, string>>;
  /** What the package says of its files: SHA-1s, in hexadecimal digits. */
  readonly checksums?: Readonly<Record<string, string>>;
  /** Files of mode 0755. */
  readonly programs?: Readonly<Record<string, Uint8Array>>;
  /** Of the files, in seconds since 1970. */
  readonly time?: number;
  readonly change?: (text: string) => string;
  readonly alter?: (data: Buffer) => Buffer;
  readonly control?: Readonly<Record<string, string | Uint8Array>>;
}): MadeApk {
  const { name, signer, kind = "RSA256", files = { "usr/bin/hello": "#!/bin/sh\n" }, change = (text) => text, alter = (data) => data } = options;
  const data = member(files, true, options.links, options.programs, options.checksums, options.time);
  const hash = createHash("sha256").update(data).digest("hex");
  const text = change(
    `# made by a test\npkgname = ${name}\npkgver = 1.0-r0\narch = x86_64\nsize = 10\ndepend = so:libc.so\ndepend = b>1\ndatahash = ${hash}\n`,
  );
  const control = member(options.control ?? { ".PKGINFO": text, ".post-install": "#!/bin/sh\n" }, false);
  const rest = Buffer.concat([control, alter(data)]);
  const checksum = `Q1${createHash("sha1").update(control).digest("base64")}`;
  return { bytes: signer === undefined ? rest : signed(rest, signer, kind, control), checksum };
}
