import type { OciErrorCode } from "./errors.ts";
import type { MediaRole } from "./media.ts";

/** `error`: the layout is not what it says. `notice`: allowed, but worth knowing, or nothing checks it. */
export type FindingLevel = "error" | "notice";

export type FindingCode =
  | OciErrorCode
  | "DATA_MISMATCH"
  | "HISTORY_MISMATCH"
  | "PLATFORM_MISMATCH"
  | "DIGEST_UNEXPECTED"
  | "MISNAMED_BLOB"
  | "UNREFERENCED_BLOB"
  | "UNKNOWN_FILE"
  | "UNKNOWN_MEDIA_TYPE"
  | "UNKNOWN_PROPERTY"
  | "SUBJECT_ABSENT"
  | "URLS_IGNORED";

/** One thing that a verification found. Its texts may hold a stranger's characters: show them through `printable` of @imgkit/bytes. */
export interface Finding {
  readonly level: FindingLevel;
  readonly code: FindingCode;
  readonly sentence: string;
  /** The file of the layout: `index.json`, `blobs/sha256/…`. */
  readonly path: string;
  /** The JSON path in it, for documents. */
  readonly field?: string;
  /** The byte in it, or, for a layer, in its uncompressed tar. */
  readonly offset?: number;
  readonly expected?: string;
  readonly found?: string;
}

/** A blob whose digest and size were recomputed and are as claimed. */
export interface VerifiedBlob {
  readonly kind: MediaRole | "blob";
  readonly mediaType: string;
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  /** Of a layer: the recomputed digest and size of its uncompressed tar. */
  readonly diffId?: string;
  readonly tarSize?: number;
}

/** A manifest or index that the layout's index lists. */
export interface ListedImage {
  readonly tag?: string;
  readonly digest: string;
  readonly mediaType: string;
}

export interface LayoutReport {
  /** No finding is an error. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  /** In the order in which they were reached, each once. */
  readonly verified: readonly VerifiedBlob[];
  readonly images: readonly ListedImage[];
}
