// What a verification keeps: its findings, and which blobs were hashed, with what result. Each blob is hashed once.
import { streamSource } from "@imgkit/bytes";
import type { BlobSource } from "./blobs.ts";
import { checkDocument, type DocumentKind } from "./check.ts";
import { clip } from "./clip.ts";
import { blobPath, createDigester, parseDigest } from "./digest.ts";
import type { Engines } from "./engines.ts";
import { OciError } from "./errors.ts";
import type { Finding, FindingCode, VerifiedBlob } from "./findings.ts";
import { type JsonObject, MAX_DOCUMENT } from "./json-read.ts";
import { INDEX_FILE, LAYOUT_FILE, type LayoutFiles } from "./layout.ts";
import { mediaRole } from "./media.ts";
import type { Descriptor } from "./types.ts";

/** Where a claim stands. */
export interface Place {
  readonly path: string;
  readonly field?: string;
}

export type Details = Pick<Finding, "expected" | "found" | "offset">;

export class Ledger {
  readonly findings: Finding[] = [];
  readonly verified: Map<string, VerifiedBlob> = new Map<string, VerifiedBlob>();
  /** Digests that some descriptor names. */
  readonly named: Set<string> = new Set<string>();
  readonly files: LayoutFiles;
  readonly engines: Engines;
  readonly #hashed = new Map<string, string>();

  constructor(files: LayoutFiles, engines: Engines) {
    this.files = files;
    this.engines = engines;
  }

  error(code: FindingCode, sentence: string, place: Place, details: Details = {}): void {
    this.findings.push({ level: "error", code, sentence, ...place, ...details });
  }

  notice(code: FindingCode, sentence: string, place: Place, details: Details = {}): void {
    this.findings.push({ level: "notice", code, sentence, ...place, ...details });
  }

  /** Opens a file of the layout; one that cannot be opened for what it is becomes a finding at `place`. */
  async open(path: string, place: Place): Promise<BlobSource | undefined> {
    try {
      return await this.files.open(path);
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
      this.error(error.code, error.code === "BLOB_MISSING" ? `${path} is missing` : error.message, place);
      return undefined;
    }
  }

  /** Reads and checks `oci-layout`, `index.json`, or a document whose blob was verified; undefined when anything is wrong with it. */
  async document<T>(kind: DocumentKind, path: string, mediaType?: string): Promise<T | undefined> {
    const source = await this.open(path, { path });
    if (source === undefined) return undefined;
    try {
      const bytes = await source.read(0, Math.min(source.size, MAX_DOCUMENT + 1));
      const { value, problems, unknown } = checkDocument(kind, bytes, mediaType === undefined ? {} : { mediaType });
      for (const problem of problems) this.findings.push({ level: "error", path, ...problem });
      // In a blob the digest covers every byte; these two files only say what they say.
      if (path === LAYOUT_FILE || path === INDEX_FILE) {
        for (const field of unknown) this.notice("UNKNOWN_PROPERTY", "a property that nothing checks", { path, field });
      }
      return problems.length === 0 ? (value as JsonObject as unknown as T) : undefined;
    } finally {
      source.close();
    }
  }

  /** Recomputes what a descriptor claims; false when the blob is not usable. */
  async blob(descriptor: Descriptor, place: Place): Promise<boolean> {
    const { digest, size, mediaType, urls } = descriptor;
    this.named.add(digest);
    if (urls !== undefined) this.notice("URLS_IGNORED", "other places are named for a blob; they were not asked", place, { found: clip(urls.join(" ")) });
    this.#embedded(descriptor, place);
    const path = blobPath(digest);
    const source = await this.open(path, place);
    if (source === undefined) return false;
    try {
      if (source.size !== size) {
        this.error("BLOB_MISMATCH", "a blob has another size than its descriptor says", place, { expected: `${size} bytes`, found: `${source.size} bytes` });
      }
      const found = await this.hash(digest, source);
      if (found !== digest) this.error("BLOB_MISMATCH", "a blob has another digest than its name", { path }, { expected: digest, found });
      if (found !== digest || source.size !== size) return false;
    } finally {
      source.close();
    }
    const kind = mediaRole(mediaType) ?? "blob";
    if (!this.verified.has(digest)) this.verified.set(digest, { kind, mediaType, digest, size });
    if (kind === "blob" || kind === "layer" || size <= MAX_DOCUMENT) return true;
    this.error("BAD_SIZE", "a document that is too large", place, { expected: `at most ${MAX_DOCUMENT} bytes`, found: `${size}` });
    return false;
  }

  /** The digest of an open blob, by the algorithm of the digest that it is named by. */
  async hash(digest: string, source: BlobSource): Promise<string> {
    const before = this.#hashed.get(digest);
    if (before !== undefined) return before;
    const digester = createDigester(parseDigest(digest).algorithm, this.engines.sha256);
    for await (const chunk of streamSource(source)) digester.update(chunk);
    const found = digester.digest();
    this.#hashed.set(digest, found);
    return found;
  }

  #embedded(descriptor: Descriptor, place: Place): void {
    if (descriptor.data === undefined) return;
    const bytes = Uint8Array.from(atob(descriptor.data), (c) => c.charCodeAt(0));
    const digester = createDigester(parseDigest(descriptor.digest).algorithm, this.engines.sha256);
    digester.update(bytes);
    const found = digester.digest();
    if (bytes.length === descriptor.size && found === descriptor.digest) return;
    const field = `${place.field ?? "$"}.data`;
    this.error("DATA_MISMATCH", "the embedded data is not the blob", { ...place, field }, { expected: descriptor.digest, found });
  }
}
