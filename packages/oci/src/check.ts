// The shapes of image-spec 1.1's documents, stricter than its JSON schemas where those let an attack through.
import { DIGEST_SHAPE, splitDigest } from "./digest.ts";
import { OciError } from "./errors.ts";
import { type JsonObject, type JsonValue, type ParseJsonOptions, parseJson } from "./json-read.ts";
import { MEDIA_INDEX, MEDIA_MANIFEST, mediaRole } from "./media.ts";
import { type Check, flag, isObject, list, map, matching, object, type Problem, type Report, text, where } from "./shape.ts";
import { isRfc3339 } from "./time.ts";
import type { ImageConfig, ImageIndex, ImageManifest } from "./types.ts";
import { USER_SHAPE, userIsSafe } from "./user.ts";

// RFC 6838 section 4.2: restricted names of at most 127 characters.
const mediaType = matching(/^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/, "a media type as RFC 6838 has it");
const digest = where((v) => typeof v === "string" && splitDigest(v) !== undefined, DIGEST_SHAPE, "BAD_DIGEST");
const size = where((v) => typeof v === "number" && Number.isSafeInteger(v) && v >= 0, "an integer from 0 to 2^53 - 1", "BAD_SIZE");
// No group is repeated in the pattern: an expression that does so overflows the stack on a text of megabytes.
const base64 = where((v) => typeof v === "string" && v.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(v), "Base64 as RFC 4648 section 4 has it");
const name = matching(/^[^\0]+$/, "a string that is not empty");
const annotations = map(text);
const date = where((v) => typeof v === "string" && isRfc3339(v), "a date and time as RFC 3339 has it");
const version = where((v) => v === 2, "2");

const platformParts: Readonly<Record<string, Check>> = { "os.version": text, "os.features": list(text), variant: text };
const platform = object({ required: { architecture: name, os: name }, optional: platformParts });
const descriptor = object({
  required: { mediaType, digest, size },
  optional: { urls: list(text), annotations, data: base64, artifactType: mediaType, platform },
});

const index = object({
  required: { schemaVersion: version, manifests: list(descriptor) },
  optional: { mediaType, artifactType: mediaType, subject: descriptor, annotations },
  // CVE-2021-41190: with `layers` or `config` too, one reader takes the document for an index and another for an image.
  forbidden: ["config", "layers", "fsLayers", "history"],
});

const manifest = object({
  required: { schemaVersion: version, config: descriptor, layers: list(descriptor) },
  optional: { mediaType, artifactType: mediaType, subject: descriptor, annotations },
  forbidden: ["manifests", "fsLayers", "history"],
});

const user: Check = where((v) => typeof v === "string" && userIsSafe(v), USER_SHAPE);
const set = map(object({}));
const execution = object({
  nullable: true,
  optional: {
    User: user,
    ExposedPorts: set,
    Env: list(text),
    Entrypoint: list(text),
    Cmd: list(text),
    Volumes: set,
    WorkingDir: text,
    Labels: annotations,
    StopSignal: text,
    ArgsEscaped: flag,
  },
});
const rootfs = object({ required: { type: where((v) => v === "layers", '"layers"'), diff_ids: list(digest) } });
const history = object({ nullable: true, optional: { created: date, author: text, created_by: text, comment: text, empty_layer: flag } });
const config = object({
  nullable: true,
  required: { architecture: name, os: name, rootfs },
  optional: { ...platformParts, created: date, author: text, config: execution, history: list(history) },
});

const header = object({ required: { imageLayoutVersion: where((v) => v === "1.0.0", '"1.0.0"') } });

/** Which document the bytes are to be. */
export type DocumentKind = "index" | "manifest" | "config" | "layout";

const shapes: Readonly<Record<DocumentKind, Check>> = { index, manifest, config, layout: header };

export interface CheckOptions extends ParseJsonOptions {
  /** The media type that the document's descriptor gives it: a `mediaType` inside must be the same. */
  readonly mediaType?: string;
}

export interface CheckedDocument {
  /** The document; absent when it is no JSON object. */
  readonly value?: JsonObject;
  readonly problems: readonly Problem[];
  /** JSON paths of properties that the specification does not know. */
  readonly unknown: readonly string[];
}

/** Reads a document and reports everything that is wrong with it. Does not throw on bad input. */
export function checkDocument(kind: DocumentKind, bytes: Uint8Array, options: CheckOptions = {}): CheckedDocument {
  try {
    return checkValue(kind, parseJson(bytes, options), options);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    return { problems: [{ code: error.code, sentence: error.message, field: "$" }], unknown: [] };
  }
}

function checkValue(kind: DocumentKind, value: JsonValue, options: CheckOptions): CheckedDocument {
  const problems: Problem[] = [];
  const unknown: string[] = [];
  const report: Report = { problem: (p) => problems.push(p), unknown: (field) => unknown.push(field) };
  shapes[kind](value, "$", report);
  if (!isObject(value)) return { problems, unknown };
  if (kind === "index" || kind === "manifest") checkMediaType(kind, value, options.mediaType, report);
  return { value, problems, unknown };
}

function checkMediaType(kind: "index" | "manifest", value: JsonObject, expected: string | undefined, report: Report): void {
  const { mediaType: found } = value;
  if (typeof found !== "string") return;
  const right = expected === undefined ? mediaRole(found) === kind : found === expected;
  if (right) return;
  const own = kind === "index" ? MEDIA_INDEX : MEDIA_MANIFEST;
  report.problem({
    code: "MEDIA_TYPE_MISMATCH",
    sentence: "the document says that it is something else than it is used as",
    field: "$.mediaType",
    expected: expected ?? own,
    found,
  });
}

function parse<T>(kind: DocumentKind, bytes: Uint8Array, options: CheckOptions): T {
  const { value, problems } = checkValue(kind, parseJson(bytes, options), options);
  const [first] = problems;
  if (first !== undefined) throw problemError(first, options.path);
  return value as unknown as T;
}

/** A problem as an error. */
export function problemError(problem: Problem, path?: string): OciError {
  const { code, sentence, field, expected, found } = problem;
  return new OciError(code, sentence, {
    field,
    ...(path === undefined ? {} : { path }),
    ...(expected === undefined ? {} : { expected }),
    ...(found === undefined ? {} : { found }),
  });
}

/**
 * Reads an image index.
 * @throws OciError on the first problem: JSON_*, BAD_DOCUMENT, AMBIGUOUS_DOCUMENT, MEDIA_TYPE_MISMATCH, BAD_DIGEST, BAD_SIZE.
 */
export function parseIndex(bytes: Uint8Array, options: CheckOptions = {}): ImageIndex {
  return parse<ImageIndex>("index", bytes, options);
}

/** Reads an image manifest; throws as `parseIndex`. */
export function parseManifest(bytes: Uint8Array, options: CheckOptions = {}): ImageManifest {
  return parse<ImageManifest>("manifest", bytes, options);
}

/** Reads an image configuration; throws as `parseIndex`. */
export function parseConfig(bytes: Uint8Array, options: CheckOptions = {}): ImageConfig {
  return parse<ImageConfig>("config", bytes, options);
}
