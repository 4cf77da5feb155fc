import type { Command } from "commander";
import type { Signer } from "../verify/disk.ts";
import { usage } from "./options.ts";

export interface SignatureFileOptions {
  readonly rootHashSignature?: string;
  readonly cert?: string;
}

/** The first is veritysetup's flag. There the kernel has the certificates, in its keyring. */
export function addSignatureFileOptions(command: Command): Command {
  return command
    .option("--root-hash-signature <file>", "a signature of the root hash, in DER, that must be good by --cert as well")
    .option("--cert <file>", "a certificate, known from elsewhere, by whose key it must be; the file may have several");
}

/** What a signature of a root hash comes to. JSON as it is. */
export type SignatureOutcome = { readonly ok: true; readonly signedBy: Signer } | { readonly ok: false; readonly problem: string };

/** The library of signatures is loaded for who asks. @throws CliError USAGE when one of the two options is given alone. */
export async function verifySignatureFile(rootHash: Uint8Array, { rootHashSignature, cert }: SignatureFileOptions): Promise<SignatureOutcome | undefined> {
  if ((rootHashSignature === undefined) !== (cert === undefined))
    throw usage("--root-hash-signature and --cert go together", "Give the signature and the certificate of the key that made it.");
  if (rootHashSignature === undefined || cert === undefined) return undefined;
  const [{ certificatesOf, signerDocument }, { judgeRootHash }, { readSmall }] = await Promise.all([
    import("../keys.ts"),
    import("../root-hash-signature.ts"),
    import("../uki/files.ts"),
  ]);
  const verdict = await judgeRootHash(rootHash, readSmall(rootHashSignature), certificatesOf(readSmall(cert)));
  return typeof verdict === "string" ? { ok: false, problem: `${rootHashSignature}: ${verdict}` } : { ok: true, signedBy: signerDocument(verdict) };
}

/** What a verdict on a tree rests on. */
export function anchorOf(signature: SignatureOutcome | undefined): string {
  return signature?.ok ? `the given root hash, signed by ${signature.signedBy.subject}, whose certificate was given` : "the given root hash";
}
