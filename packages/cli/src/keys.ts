import { type Certificate, type RsaSigner, readCertificateFile } from "@imgkit/attest";
import { rsaSigner } from "@imgkit/attest/node";
import { readSmall } from "./uki/files.ts";

/** Who signs with a private key in a file; the passphrase is on the first line of another. Neither is named in any record. */
export function keySigner(key: string, passphraseFile: string | undefined): RsaSigner {
  const passphrase = passphraseFile === undefined ? undefined : new TextDecoder().decode(readSmall(passphraseFile)).split(/\r?\n/)[0];
  return rsaSigner(readSmall(key), passphrase);
}

/** The certificates of a file: at least one. */
export function certificatesOf(file: Uint8Array): readonly [Certificate, ...Certificate[]] {
  return readCertificateFile(file) as readonly [Certificate, ...Certificate[]];
}

/** A certificate as `--json` names it. */
export function signerDocument({ subject, fingerprint }: Certificate): { readonly subject: string; readonly fingerprint: string } {
  return { subject, fingerprint: `sha256:${fingerprint}` };
}
