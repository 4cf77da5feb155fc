import { ImgkitError } from "@imgkit/bytes";

export type CoreErrorCode =
  | "BAD_PATH"
  | "DUPLICATE_PATH"
  | "PARENT_NOT_DIRECTORY"
  | "BAD_LINK"
  | "BAD_NODE"
  | "TAR_EMPTY"
  | "TAR_TRUNCATED"
  | "TAR_TRAILING_DATA"
  | "TAR_BAD_HEADER"
  | "TAR_BAD_PAX"
  | "TAR_AMBIGUOUS"
  | "TAR_UNSUPPORTED"
  | "TAR_LIMIT"
  | "NO_EPOCH"
  | "BAD_EPOCH"
  | "BAD_SOURCE"
  | "XATTRS_UNREADABLE"
  | "MTREE_BAD_LINE"
  | "BAD_LOCK"
  | "LOCK_MISMATCH"
  | "SOURCE_FAILED"
  | "TOO_LARGE"
  | "NO_SUCH_PATH"
  | "EXTRACT_REFUSED"
  | "TOOL_MISSING"
  | "TOOL_FAILED";

export class CoreError extends ImgkitError<CoreErrorCode> {}
