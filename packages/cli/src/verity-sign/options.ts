import type { Certificate } from "@imgkit/attest";
import { toHex } from "@imgkit/bytes";
import type { RootHashSignature } from "@imgkit/verity";
import { CliError } from "../errors.ts";
import type { OutputOptions, RecordOptions } from "../options.ts";

export interface TargetOptions extends OutputOptions, RecordOptions {
  readonly output?: string;
  readonly cert?: string;
  readonly rootHash?: string;
  readonly seed: string;
  readonly replaceMbr?: boolean;
}

export interface SignOptions extends TargetOptions {
  readonly key?: string;
  readonly passphraseFile?: string;
  readonly exportDigest?: string;
}

export interface AttachOptions extends TargetOptions {
  readonly signature?: string;
  readonly pkcs7?: string;
}

/** `one`: there is one signature, which is of one root hash. */
export type IntoOptions = TargetOptions & { readonly one?: boolean };

/** What makes the signatures. */
export interface Job {
  readonly certificates: readonly Certificate[];
  make(rootHash: Uint8Array): Promise<RootHashSignature>;
}

/** The certificate whose key signed. */
export function signerOf({ certificates }: Job, { certificateFingerprint }: RootHashSignature): Certificate {
  const fingerprint = toHex(certificateFingerprint ?? new Uint8Array(0));
  return certificates.find((one) => one.fingerprint === fingerprint) as Certificate;
}

export function usage(sentence: string, hint: string): CliError {
  return new CliError("USAGE", sentence, { hint });
}
