import { type Certificate, imageToBeSigned, type RsaSigner, readCertificateFile, signImage } from "@imgkit/attest";
import { rsaVerifier } from "@imgkit/attest/node";
import type { ByteSource } from "@imgkit/bytes";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import type { DiskBoot } from "@imgkit/disk";
import { CliError } from "../errors.ts";
import { keySigner } from "../keys.ts";
import type { Inputs } from "../uki/files.ts";
import type { SecureBootOptions } from "./options.ts";

/** What signs the program of a disk, as the options say; undefined when nothing does. */
export function programSigner(options: SecureBootOptions, inputs: Inputs): DiskBoot["sign"] {
  const { secureBootKey: key, secureBootCert: cert, secureBootSignature: signature, secureBootExport: exported } = options;
  if (key !== undefined && signature !== undefined)
    throw usage("--secure-boot-key and --secure-boot-signature", "Give the key, or the signature that was made elsewhere.");
  if (cert === undefined && (key !== undefined || signature !== undefined)) throw usage("a signature and no certificate", "Give --secure-boot-cert FILE.");
  if (cert !== undefined && key === undefined && signature === undefined && exported === undefined)
    throw usage("a certificate and no signature", "Give --secure-boot-key FILE, or --secure-boot-export FILE and later --secure-boot-signature FILE.");
  const sign = signerOf(options, inputs);
  const [own, ...chain] = cert === undefined ? [] : readCertificateFile(inputs.read(cert));
  if (exported === undefined && sign === undefined) return undefined;
  return async (program: ByteSource): Promise<ByteSource> => {
    if (exported !== undefined) await writeFileAtomic(exported, [await imageToBeSigned(program, nativeSha256)]);
    if (sign === undefined) return program;
    return signImage(program, own as Certificate, sign, rsaVerifier, { chain, engine: nativeSha256 });
  };
}

function signerOf({ secureBootKey, secureBootPassphraseFile, secureBootSignature }: SecureBootOptions, inputs: Inputs): RsaSigner | undefined {
  if (secureBootKey !== undefined) return keySigner(secureBootKey, secureBootPassphraseFile);
  if (secureBootSignature === undefined) return undefined;
  const signature = inputs.read(secureBootSignature);
  return () => signature;
}

function usage(what: string, hint: string): CliError {
  return new CliError("USAGE", `${what}: that does not go together`, { hint });
}
