import { type DiskFinding, type DiskVerification, type VerifiedPair, verifyDisk } from "@imgkit/disk";
import { nativeEngine } from "@imgkit/verity/node";
import { openDiskFile } from "../disk-file.ts";
import type { Progress } from "../progress.ts";
import { findingLine } from "../report.ts";
import { pacedSource } from "../turns.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

/** A certificate whose key signed. JSON as it is. */
export interface Signer {
  readonly subject: string;
  /** `sha256:` and the hash of the certificate. */
  readonly fingerprint: string;
}

/** What the signatures of root hashes on a disk come to. */
export interface SignatureVerdict {
  /** By number of the data partition. */
  readonly signers: ReadonlyMap<number, Signer>;
  /** Numbers of the partitions whose signature is good. */
  readonly held: ReadonlySet<number>;
  readonly findings: readonly DiskFinding[];
}

export async function verifyDiskTarget(path: string, options: VerifyOptions, progress: Progress): Promise<Outcome> {
  const file = await openDiskFile(path);
  try {
    const { rootHash, seed } = options;
    const disk = await verifyDisk(pacedSource(file.disk), {
      engine: nativeEngine,
      onProgress: (done, total) => progress.update(done, total),
      ...(rootHash === undefined ? {} : { rootHash }),
      ...(seed === undefined ? {} : { seed }),
    });
    return outcomeOf(disk, await signaturesOf(disk, options), options);
  } finally {
    file.close();
  }
}

/** The library of signatures is loaded for who asks. */
async function signaturesOf(disk: DiskVerification, { verityCert, rootHashSignature }: VerifyOptions): Promise<SignatureVerdict> {
  if (verityCert === undefined) return { signers: new Map(), held: new Set(), findings: [] };
  return (await import("./signatures.ts")).verifySignatures(disk, verityCert, rootHashSignature);
}

function outcomeOf({ ok: right, ...result }: DiskVerification, signed: SignatureVerdict, options: VerifyOptions): Outcome {
  const findings = [...result.findings, ...signed.findings];
  const signedBy = ({ data }: VerifiedPair): string => (signed.signers.has(data) ? `, signed by ${signed.signers.get(data)?.subject}` : "");
  const verified = result.pairs
    .filter((pair) => pair.ok)
    .map(
      (pair) =>
        `${pair.mountPoint === "/opt" ? "opt" : pair.typeName}: root hash ${pair.rootHash}, partitions ${pair.data} and ${pair.verity}${signedBy(pair)}`,
    );
  const wrong = new Set(result.findings.filter(({ code }) => code === "COMMAND_LINE" || code === "ESP").map(({ partition }) => partition));
  for (const { partition, path: program } of result.ukis) {
    if (!wrong.has(partition)) verified.push(`${program} on partition ${partition}: its command line names the disk's root hashes`);
  }
  const unprotected = result.unprotected.filter((number) => !signed.held.has(number));
  const unverified = unprotected.map((number) => `partition ${number} is covered by no root hash: what it holds was not verified`);
  const unsigned = options.verityCert === undefined ? [] : result.pairs.filter(({ data, mountPoint }) => mountPoint === "/opt" && !signed.signers.has(data));
  for (const { data, verity } of unsigned)
    unverified.push(`partitions ${data} and ${verity}: no signature is of their root hash, which rests on their own UUIDs`);
  const details = {
    ...result,
    findings,
    pairs: result.pairs.map((pair) => (signed.signers.has(pair.data) ? { ...pair, signedBy: signed.signers.get(pair.data) } : pair)),
    unprotected,
  };
  const ok = right && signed.findings.length === 0;
  return {
    ok,
    anchor: anchorOf(signed, options),
    findings: findings.map(findingLine),
    verified,
    unverified,
    details,
    disk: { ...result, ok, findings, unprotected },
  };
}

function anchorOf({ signers }: SignatureVerdict, { rootHash, verityCert }: VerifyOptions): string {
  const by = [...new Set([...signers.values()].map(({ subject }) => subject))].join(" and ");
  const signature =
    verityCert === undefined
      ? undefined
      : by === ""
        ? "no signature by the given certificate"
        : `the signature of its root hash by ${by}, whose certificate was given`;
  if (rootHash !== undefined) return signature === undefined ? "the given root hash" : `the given root hash and ${signature}`;
  return signature ?? "the disk's own partition UUIDs only: it is consistent with itself (give --root-hash or --verity-cert to hold it to what was published)";
}
