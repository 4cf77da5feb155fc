import { rootHashToBeSigned } from "@imgkit/attest";
import { fromHex } from "@imgkit/bytes";
import { writeFileAtomic } from "@imgkit/bytes/node";
import type { DiskDescription, SignRootHash } from "@imgkit/disk";
import { CliError } from "../errors.ts";
import { certificatesOf, keySigner } from "../keys.ts";
import { signedRootHash } from "../root-hash-signature.ts";
import type { Inputs } from "../uki/files.ts";
import type { PartitionOptions } from "./options.ts";

/** What signs the root hashes of a disk, as the options say; undefined when nothing does. */
export function rootHashSigner(options: PartitionOptions, inputs: Inputs): SignRootHash | undefined {
  const { verityKey: key, verityPassphraseFile: passphrase, verityCert: cert, veritySignature: signature, verityExport: exported } = options;
  if (key !== undefined && signature !== undefined)
    throw usage("--verity-key and --verity-signature", "Give the key, or the signature that was made elsewhere.");
  if (passphrase !== undefined && key === undefined) throw usage("a passphrase and no key", "Give --verity-key FILE.");
  if (cert === undefined && (key !== undefined || signature !== undefined)) throw usage("a signature and no certificate", "Give --verity-cert FILE.");
  if (cert !== undefined && key === undefined && signature === undefined && exported === undefined)
    throw usage("a certificate and no signature", "Give --verity-key FILE, or --verity-export FILE and later --verity-signature FILE.");
  if ((signature !== undefined || exported !== undefined) && options.split?.includes("usr"))
    throw usage("two root hashes and one signature", "Make the disk, then give imgkit verity sign --export-digest and verity attach a --root-hash.");
  if (cert === undefined || (key === undefined && signature === undefined)) return undefined;
  const certificates = certificatesOf(inputs.read(cert));
  const made = signature === undefined ? undefined : inputs.read(signature);
  const sign = made === undefined ? keySigner(key ?? "", passphrase) : () => made;
  return (rootHash) => signedRootHash(rootHash, certificates, sign);
}

/** Writes what a key elsewhere is to sign. */
export async function exportRootHash({ rootHash }: DiskDescription, { verityExport }: PartitionOptions): Promise<void> {
  if (verityExport !== undefined) await writeFileAtomic(verityExport, [rootHashToBeSigned(fromHex(rootHash))]);
}

function usage(what: string, hint: string): CliError {
  return new CliError("USAGE", `${what}: that does not go together`, { hint });
}
