// Makes signed repositories to measure on: packages of any names, versions and dependencies, filled with files of a given size in all.

import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { collect, memorySource } from "@imgkit/bytes";
import { writeGoTar } from "@imgkit/core";

const END = 1024;
const meta = (path, mode) => ({ path, mode, uid: 0, gid: 0, mtime: 0n, xattrs: new Map() });
const file = (path, content, mode = 0o644) => ({ type: "file", ...meta(path, mode), content: memorySource(content) });
const text = (string) => new TextEncoder().encode(string);

/** A gzip member with the tar of nodes; only the last of a file has the end of archive. */
async function member(nodes, isLast) {
  const tar = await collect(writeGoTar(nodes));
  return gzipSync(isLast ? tar : tar.subarray(0, -END));
}

const KEY = "bench.rsa.pub";

/** A key of its own for one repository: what it signs, and its public half as a file beside it. */
export function makeSigner(folder) {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(join(folder, KEY), publicKey.export({ type: "spki", format: "pem" }));
  return async (body, over = body) => Buffer.concat([await member([file(`.SIGN.RSA256.${KEY}`, sign("sha256", over, privateKey))], false), body]);
}

/** Bytes that compress about as programs do: every eighth is noise, which a counter makes. */
function filler(size, seed) {
  const out = Buffer.alloc(size, `${seed} lorem ipsum dolor sit amet consectetur `);
  let state = (seed * 2654435761) >>> 0;
  for (let i = 0; i < size; i += 8) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

const MAX_FILE = 64 << 10;

/** The files of a package, 64 KiB each but the last, below folders that each have an entry. */
function files({ name, installedSize }, seed) {
  const nodes = ["usr", "usr/lib", `usr/lib/${name}`].map((path) => ({ type: "directory", ...meta(path, 0o755) }));
  for (let at = 0, i = 0; at < installedSize; at += MAX_FILE, i++) {
    nodes.push(file(`usr/lib/${name}/${String(i).padStart(5, "0")}`, filler(Math.min(MAX_FILE, installedSize - at), seed + i)));
  }
  return nodes;
}

/** Writes one package into its repository's folder, and returns its lines of the index. */
async function writePackage(folder, signer, info, seed) {
  const data = await member(files(info, seed), true);
  const { name, version, architecture, installedSize, depends = [], provides = [], installIf = [] } = info;
  const list = (key, values) => values.map((value) => `${key} = ${value}\n`).join("");
  const own = `pkgname = ${name}\npkgver = ${version}\narch = ${architecture}\nsize = ${installedSize}\n`;
  const lists = `${list("depend", depends)}${list("provides", provides)}${list("install_if", installIf.length > 0 ? [installIf.join(" ")] : [])}`;
  const hash = createHash("sha256").update(data).digest("hex");
  const control = await member([file(".PKGINFO", text(`${own}${lists}datahash = ${hash}\n`))], false);
  const bytes = await signer(Buffer.concat([control, data]), control);
  writeFileSync(join(folder, `${name}-${version}.apk`), bytes);
  const lines = [`C:Q1${createHash("sha1").update(control).digest("base64")}`, `P:${name}`, `V:${version}`, `A:${architecture}`];
  lines.push(`S:${bytes.length}`, `I:${installedSize}`);
  for (const [letter, values] of Object.entries({ D: depends, p: provides, i: installIf })) if (values.length > 0) lines.push(`${letter}:${values.join(" ")}`);
  return `${lines.join("\n")}\n`;
}

/**
 * Writes a repository of these packages, with `more` paragraphs in its index that have no package, and an apko.yaml that wants `world`.
 * @returns the path of the apko.yaml
 */
export async function writeRepository(folder, packages, world, more = []) {
  const [{ architecture }] = packages;
  const place = join(folder, architecture);
  mkdirSync(place, { recursive: true });
  const signer = makeSigner(folder);
  const entries = [];
  for (const [i, info] of packages.entries()) entries.push(await writePackage(place, signer, info, i + 1));
  const index = await member([file("DESCRIPTION", text("bench")), file("APKINDEX", text(`${[...entries, ...more].join("\n")}\n`))], true);
  writeFileSync(join(place, "APKINDEX.tar.gz"), await signer(index));
  // JSON is YAML.
  const contents = { keyring: [join(folder, KEY)], repositories: [folder], packages: world };
  writeFileSync(join(folder, "apko.yaml"), JSON.stringify({ contents, archs: [architecture] }));
  return join(folder, "apko.yaml");
}
