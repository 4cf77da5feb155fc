import { ImgkitError } from "@imgkit/bytes";

export type VerityErrorCode =
  | "BAD_ALGORITHM"
  | "BAD_HASH_TYPE"
  | "BAD_BLOCK_SIZE"
  | "BAD_SALT"
  | "BAD_UUID"
  | "BAD_HASH_OFFSET"
  | "BAD_DATA_SIZE"
  | "BAD_ROOT_HASH"
  | "BAD_RANGE"
  | "BAD_PROOF"
  | "NOT_AUTHENTIC"
  | "NOT_PROVEN"
  | "OTHER_PARAMETERS"
  | "NOT_VERITY"
  | "BAD_SUPERBLOCK"
  | "TOO_LARGE"
  | "OVERLAP"
  | "NOT_GPT"
  | "BAD_GPT"
  | "HYBRID_MBR"
  | "BAD_SIGNATURE"
  | "BAD_FEC_ROOTS"
  | "BAD_FEC_OFFSET"
  | "NOT_REPAIRABLE"
  | "WORKER_FAILED";

export class VerityError extends ImgkitError<VerityErrorCode> {}
