import { ImgkitError } from "@imgkit/bytes";

export type AttestErrorCode =
  /** Not the PEM or DER of what was asked for. */
  | "BAD_PEM"
  /** A certificate that cannot be read, or of a kind that Secure Boot does not know. */
  | "BAD_CERTIFICATE"
  /** A private key that cannot be read or used. */
  | "BAD_KEY"
  /** A PKCS#7 that is no Authenticode signature, or of a kind that is not read here. */
  | "BAD_SIGNATURE"
  /** A signature of something else: another image, or another key than the certificate's. */
  | "SIGNATURE_MISMATCH";

/** The one error class of `@imgkit/attest`. */
export class AttestError extends ImgkitError<AttestErrorCode> {}
