import { ImgkitError } from "@imgkit/bytes";

export type OciErrorCode =
  | "JSON_SYNTAX"
  | "JSON_DUPLICATE_KEY"
  | "JSON_ENCODING"
  | "JSON_NUMBER"
  | "JSON_LIMIT"
  | "BAD_DOCUMENT"
  | "AMBIGUOUS_DOCUMENT"
  | "MEDIA_TYPE_MISMATCH"
  | "BAD_DIGEST"
  | "BAD_SIZE"
  | "BLOB_MISSING"
  | "BLOB_MISMATCH"
  | "BLOB_NOT_A_FILE"
  | "BAD_LAYER"
  | "UNSUPPORTED_COMPRESSION"
  | "BAD_PLATFORM"
  | "BAD_EPOCH"
  | "BAD_CONFIG"
  | "BAD_TAG"
  | "BAD_LAYOUT"
  | "NO_SUCH_IMAGE"
  | "AMBIGUOUS_REFERENCE";

export class OciError extends ImgkitError<OciErrorCode> {}
