import type { DiskVerification } from "@imgkit/disk";
import type { Target } from "../kind.ts";
import type { OutputOptions } from "../options.ts";
import type { TreeOptions } from "../tree-options.ts";

export interface VerifyOptions extends TreeOptions, OutputOptions {
  readonly digest?: string;
  readonly rootHash?: string;
  readonly verityCert?: string;
  readonly rootHashSignature?: string;
  readonly seed?: string;
  readonly mtree?: string;
  readonly as?: Target["kind"];
  /** Sources, one for each layer, or one record. */
  readonly from?: readonly string[];
  readonly platform?: string;
  /** Where a page for a reader goes. */
  readonly html?: string;
}

/** What a verification came to, whatever was verified. */
export interface Outcome {
  readonly ok: boolean;
  /** What the verdict rests on: without it "verified" says nothing. */
  readonly anchor: string;
  /** One line each. */
  readonly findings: readonly string[];
  /** What was recomputed and found as claimed, one line each. */
  readonly verified: readonly string[];
  /** What nothing was said about, one line each. */
  readonly unverified?: readonly string[];
  /** What else `--json` says. */
  readonly details: object;
  /** Of a disk: what its page draws. */
  readonly disk?: DiskVerification;
}
