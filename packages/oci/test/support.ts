import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll } from "vitest";
import { nodeEngines } from "../src/index.node.ts";
import {
  type BlobSource,
  blobPath,
  type Descriptor,
  type ImageOptions,
  type JsonInput,
  type LayoutEntry,
  type LayoutFiles,
  type LayoutReport,
  MEDIA_CONFIG,
  MEDIA_LAYER,
  MEDIA_MANIFEST,
  OciError,
  type VerifyOptions,
  verifyLayout,
  writeJson,
} from "../src/index.ts";

export const EPOCH = 1_700_000_000;

/** A new folder of this test file's own, removed at its end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-oci-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A small tree on the disk: a file, an empty one, a folder, a symbolic link. */
export function makeRoot(parent: string, name: string = "root", text: string = "hello\n"): string {
  const root = join(parent, name);
  mkdirSync(join(root, "etc"), { recursive: true });
  writeFileSync(join(root, "etc", "motd"), text);
  writeFileSync(join(root, "empty"), "");
  symlinkSync("etc/motd", join(root, "link"));
  return root;
}

/** The tar of a folder by GNU tar, as docs/bytes/oci-1.md has it in its recipe. */
export function gnuTar(root: string): Uint8Array {
  const fixed = [
    "--sort=name",
    "--format=posix",
    "--numeric-owner",
    `--mtime=@${EPOCH}`,
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
  ];
  return new Uint8Array(execFileSync("tar", [...fixed, "-C", root, "-cf", "-", "."], { env: { ...process.env, LC_ALL: "C" } }));
}

export function run(tool: string, ...args: string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export const imageDefaults: Pick<ImageOptions, "platform" | "epoch"> = { platform: { os: "linux", architecture: "amd64" }, epoch: EPOCH };

/** A layout in memory, for hostile and damaged ones. */
export function memoryLayout(files: ReadonlyMap<string, Uint8Array>, extra: readonly LayoutEntry[] = []): LayoutFiles {
  return {
    name: "memory",
    list: async () => [...[...files.keys()].sort().map((path): LayoutEntry => ({ path, type: "file" })), ...extra],
    open: async (path): Promise<BlobSource> => {
      const bytes = files.get(path);
      if (bytes === undefined) throw new OciError("BLOB_MISSING", "a file of the layout is missing", { path });
      return { size: bytes.length, read: (start, end) => bytes.subarray(start, end), close() {} };
    },
  };
}

/** A mutable set of blobs and documents from which hostile layouts are put together, each blob under its true digest. */
export class LayoutDraft {
  readonly files: Map<string, Uint8Array> = new Map<string, Uint8Array>([["oci-layout", writeJson({ imageLayoutVersion: "1.0.0" })]]);

  /** Stores bytes, or a document as JSON, and describes them. */
  blob(mediaType: string, content: Uint8Array | JsonInput): Descriptor {
    const bytes = content instanceof Uint8Array ? content : writeJson(content);
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    this.files.set(blobPath(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  layer(tar: Uint8Array = new Uint8Array(1024)): Descriptor {
    return this.blob(MEDIA_LAYER, tar);
  }

  /** The config of an image with these uncompressed layers. */
  config(layers: readonly Descriptor[], change: object = {}): Descriptor {
    const rootfs = { type: "layers", diff_ids: layers.map((layer) => layer.digest) };
    return this.blob(MEDIA_CONFIG, { architecture: "amd64", os: "linux", rootfs, ...change } as unknown as JsonInput);
  }

  manifest(layers: readonly Descriptor[] = [this.layer()], change: object = {}): Descriptor {
    return this.blob(MEDIA_MANIFEST, { schemaVersion: 2, config: this.config(layers), layers, ...change } as unknown as JsonInput);
  }

  index(manifests: readonly object[], change: object = {}): this {
    this.files.set("index.json", writeJson({ schemaVersion: 2, manifests, ...change } as JsonInput));
    return this;
  }

  verify(options: VerifyOptions = {}, extra: readonly LayoutEntry[] = []): Promise<LayoutReport> {
    return verifyLayout(memoryLayout(this.files, extra), { engines: nodeEngines, ...options });
  }
}

/** The files of a folder, by path. */
export function readFiles(root: string): Map<string, Uint8Array> {
  const paths = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(paths.map((entry) => join(entry.parentPath, entry.name)).map((path) => [relative(root, path), new Uint8Array(readFileSync(path))]));
}
