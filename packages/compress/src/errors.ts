import { ImgkitError } from "@imgkit/bytes";

/**
 * `TRUNCATED`: the input ended before the format did. `CORRUPT`: a check, a length or the data itself is wrong.
 * `TRAILING_DATA`: something other than the format's own padding follows its end. `LIMIT`: more output than allowed, or a
 * window too large to hold. `UNSUPPORTED`: valid, but a feature that is not read here, named in the message.
 * `WORKER_FAILED`: a thread of the compressor ended (kind system).
 */
export type CompressErrorCode = "TRUNCATED" | "CORRUPT" | "TRAILING_DATA" | "LIMIT" | "UNSUPPORTED" | "WORKER_FAILED";

export class CompressError extends ImgkitError<CompressErrorCode> {}

/** Compressed data that breaks its format's rules; the reader that knows where it stands turns it into a CompressError. */
export class BadData extends Error {}
