import { ImgkitError } from "@imgkit/bytes";

export type ApkErrorCode =
  | "BAD_VERSION"
  | "BAD_DEPENDENCY"
  | "BAD_INDEX"
  | "BAD_PACKAGE"
  | "BAD_KEY"
  | "UNKNOWN_KEY"
  | "BAD_SIGNATURE"
  | "CHECKSUM_MISMATCH"
  | "NOT_IN_INDEX"
  | "UNSATISFIABLE"
  | "FILE_CONFLICT"
  | "THROUGH_SYMLINK"
  | "BAD_CONFIG"
  | "UNSUPPORTED"
  | "REPOSITORY_FAILED";

export class ApkError extends ImgkitError<ApkErrorCode> {}
