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

/** A key of its own for one repository, its public half in a file there; signs `over`, and puts the signature before `body`. */
function makeSigner(folder) {
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

/** Writes one package into its repository's folder; what the index says of the file. */
async function writePackage(folder, signed, info, seed) {
  const { name, version, architecture, installedSize, depends, provides } = info;
  const data = await member(files(info, seed), true);
  const list = (key, values) => values.map((value) => `${key} = ${value}\n`).join("");
  const about = `pkgname = ${name}\npkgver = ${version}\narch = ${architecture}\nsize = ${installedSize}\n${list("depend", depends)}${list("provides", provides)}`;
  const control = await member([file(".PKGINFO", text(`${about}datahash = ${createHash("sha256").update(data).digest("hex")}\n`))], false);
  const bytes = await signed(Buffer.concat([control, data]), control);
  writeFileSync(join(folder, `${name}-${version}.apk`), bytes);
  return { checksum: `Q1${createHash("sha1").update(control).digest("base64")}`, size: bytes.length };
}

/** An index of nothing else than what was made. */
function plainIndex(made) {
  const paragraph = ([{ name, version, architecture, installedSize, depends, provides }, { checksum, size }]) =>
    `C:${checksum}\nP:${name}\nV:${version}\nA:${architecture}\nS:${size}\nI:${installedSize}\nD:${depends.join(" ")}\np:${provides.join(" ")}\n`;
  return [...made].map(paragraph).join("\n");
}

/**
 * Writes a repository of these packages and an apko.yaml that wants `world`. `indexOf` makes the text of the index from what was made: for each
 * package its file's checksum and size.
 * @returns paths: of the apko.yaml, the index and the key
 */
export async function writeRepository(folder, packages, world, indexOf = plainIndex) {
  const [{ architecture }] = packages;
  const place = join(folder, architecture);
  mkdirSync(place, { recursive: true });
  const signed = makeSigner(folder);
  const made = new Map();
  for (const [i, info] of packages.entries()) made.set(info, await writePackage(place, signed, info, i + 1));
  const index = join(place, "APKINDEX.tar.gz");
  writeFileSync(index, await signed(await member([file("DESCRIPTION", text("bench")), file("APKINDEX", text(indexOf(made)))], true)));
  const key = join(folder, KEY);
  const config = join(folder, "apko.yaml");
  // JSON is YAML.
  writeFileSync(config, JSON.stringify({ contents: { keyring: [key], repositories: [folder], packages: world }, archs: [architecture] }));
  return { config, index, key };
}
