import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ApkoConfig, type ApkoFile, type ApkoLock, buildApko, type Fetcher, loadApkoConfig, parseApkoLock, parseArchitecture } from "@imgkit/apk";
import { folderFetcher, nodeGunzip, nodeRsa, webFetcher } from "@imgkit/apk/node";
import { memorySource } from "@imgkit/bytes";
import { readError, statPath } from "@imgkit/bytes/node";
import { spoolStream } from "@imgkit/core/node";
import { isScalar, LineCounter, parseDocument, visit } from "yaml";
import { apkoImage } from "./apko-image.ts";
import type { ApkoCacheOptions, ApkoSourceOptions } from "./apko-options.ts";
import { digestSource } from "./digest.ts";
import { CliError } from "./errors.ts";
import type { Io } from "./io.ts";
import type { OpenedSource } from "./opened.ts";
import { cacheFolder } from "./options.ts";
import type { Progress } from "./progress.ts";

/** `apko:FILE.yaml`: the packages that it asks for, resolved, verified and installed into a tree. Relative paths in it start here. */
export async function openApko(spec: string, options: ApkoSourceOptions, epoch: number, io: Io, progress: Progress): Promise<OpenedSource> {
  const path = apkoPath(spec);
  const { config, bytes } = readApkoConfig(path);
  if (config.contents.baseImage !== undefined && options.onBase !== true) {
    throw new CliError("USAGE", "the configuration builds on an image: what it makes is a layer, and no tree", {
      path,
      field: "contents.baseimage",
      hint: `Make the image: imgkit image ${spec} -o LAYOUT, and take that.`,
    });
  }
  const lock = options.lockfile === undefined ? undefined : readApkoLock(options.lockfile, bytes, path);
  const architecture = architectureOf(config, options, path);
  const built = await buildApko(config, {
    architecture,
    epoch,
    ...(lock === undefined ? {} : { lock }),
    ...(options.annotation === undefined ? {} : { annotations: options.annotation }),
    fetcher: apkoFetcher(options, io),
    rsa: nodeRsa,
    gunzip: nodeGunzip,
    spool: (stream) => spoolStream(stream, io.temporary),
    onPackage: (done, total) => progress.update(done, total),
  });
  const { tree, findings, close, layersOf } = built;
  const image = apkoImage(built.config, parseArchitecture(architecture).oci);
  return {
    tree,
    findings,
    profile: "none",
    image,
    ...(layersOf === undefined ? {} : { layersOf }),
    recorded: async () => ({ name: spec, kind: "file", ...(await digestSource(memorySource(bytes))) }),
    close,
  };
}

function architectureOf({ archs }: ApkoConfig, { arch, platform }: ApkoSourceOptions, path: string): string {
  const named = arch ?? platform?.replace(/^[a-z]+\//, "");
  if (named !== undefined) return parseArchitecture(named).apk;
  const [only, ...others] = archs;
  if (only !== undefined && others.length === 0) return only;
  throw new CliError("USAGE", "the configuration has several architectures, or names none", {
    path,
    field: "archs",
    expected: "--arch ARCH, or --platform OS/ARCH",
    found: archs.join(", ") || "none",
  });
}

const MAX_FILE = 1 << 20;

/** Folders are read as they are; what is behind HTTP is kept in the cache, whose folder need not be known before. */
export function apkoFetcher({ cache, offline }: ApkoCacheOptions, io: Io): Fetcher {
  const folders = folderFetcher();
  let web: Fetcher | undefined;
  return {
    open(place, name, limits) {
      if (!/^https?:/.test(place)) return folders.open(place, name, limits);
      const { env, signal } = io;
      const proxy = env.http_proxy || env.HTTP_PROXY;
      const folder = join(cacheFolder(cache === undefined ? {} : { cache }, io), "apk");
      web ??= webFetcher({ cache: folder, offline: offline === true, signal, ...(proxy ? { proxy } : {}) });
      return web.open(place, name, limits);
    },
  };
}

/** The file that `apko:FILE.yaml` names. */
export function apkoPath(spec: string): string {
  return spec.slice("apko:".length);
}

/** A lock, which must be of the configuration. */
function readApkoLock(path: string, config: Uint8Array, name: string): ApkoLock {
  const lock = parseApkoLock(new TextDecoder().decode(readBytes(path)), path);
  const found = `sha256-${createHash("sha256").update(config).digest("base64")}`;
  if (lock.config !== undefined && lock.config.checksum !== found) {
    const facts = {
      path,
      field: "config.checksum",
      expected: `${found}, of ${name}`,
      found: lock.config.checksum,
      hint: `Write it again: imgkit lock apko:${name} -o ${path}`,
    };
    throw new CliError("USAGE", "the lock is of another configuration", facts);
  }
  return lock;
}

function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw readError(path, cause);
  }
}

/** A configuration with what it includes, and the bytes of its files one after the other. */
export function readApkoConfig(path: string): { readonly config: ApkoConfig; readonly bytes: Uint8Array } {
  const { config, files } = loadApkoConfig(path, readDocument);
  return { config, bytes: Buffer.concat(files) };
}

function readDocument(path: string): ApkoFile {
  const size = statPath(path)?.size ?? 0;
  if (size > MAX_FILE) throw new CliError("USAGE", "too large for an apko configuration", { path, expected: `at most ${MAX_FILE} bytes`, found: String(size) });
  const bytes = readBytes(path);
  const lines = new LineCounter();
  const document = parseDocument(new TextDecoder().decode(bytes), { lineCounter: lines, uniqueKeys: true, customTags: [] });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw new CliError("USAGE", problem.message.split(/ at line \d+|\n/)[0] ?? "not YAML", { path: `${path}:${line}:${col}` });
  }
  // Go's YAML, which apko reads with, takes 0755 for octal; YAML 1.2 writes 0o755.
  visit(document, {
    Scalar(_key, node) {
      if (isScalar(node) && node.type === "PLAIN" && /^0[0-7]+$/.test(node.source ?? "")) node.value = Number.parseInt(node.source ?? "", 8);
    },
  });
  return { document: document.toJS({ maxAliasCount: 100 }), bytes };
}
