import { attachSignature, type Certificate, imageToBeSigned, readSignedData, signImage } from "@imgkit/attest";
import { rsaVerifier } from "@imgkit/attest/node";
import { type ByteSource, toHex } from "@imgkit/bytes";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import { authenticodeHash, readCertificates } from "@imgkit/disk";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { printJson, printLine } from "../io.ts";
import { certificatesOf, keySigner, signerDocument } from "../keys.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, type RecordOptions } from "../options.ts";
import { pacedSource } from "../turns.ts";
import { checkOutputs, createInputs, type Inputs, type WriteOptions, writeImage } from "./files.ts";

interface SignOptions extends OutputOptions, RecordOptions {
  readonly key?: string;
  readonly passphraseFile?: string;
  readonly cert?: string;
  readonly output?: string;
  readonly exportDigest?: string;
}

interface AttachOptions extends WriteOptions {
  readonly signature?: string;
  readonly cert?: string;
  readonly pkcs7?: string;
}

const signHelp = `
The same image, key and certificate give the same bytes: RSA with PKCS #1 v1.5 and SHA-256, and no signing time. A signature that the image has
stays, and the new one is put behind it. The private key is neither copied nor named in a record's digests.

For a key that is elsewhere: --export-digest FILE writes what is to be signed, and attach takes the signature.

Examples:
  $ imgkit uki sign linux.efi --key db.key --cert db.pem -o signed.efi
  $ imgkit uki sign linux.efi --export-digest tbs
  $ openssl dgst -sha256 -sign db.key -out signature tbs
  $ imgkit uki attach linux.efi --signature signature --cert db.pem -o signed.efi
  $ sbverify --cert db.pem signed.efi`;

export function addUkiSign(uki: Command, context: Context): void {
  const command = uki
    .command("sign")
    .summary("sign for Secure Boot, or export what is to be signed")
    .description("Signs an image for Secure Boot (Authenticode) with a key and a certificate. It may be any PE image for UEFI.")
    .argument("<image>", "an image for UEFI")
    .option("--key <file>", "the private key, RSA, in PEM or DER")
    .option("--passphrase-file <file>", "the passphrase of the key, on the first line")
    .option("--cert <file>", "the certificate; further ones in the file go along")
    .option("-o, --output <file>", "where to write the signed image; - for standard output")
    .option("--export-digest <file>", "instead: write the bytes of which a key elsewhere makes a signature, RSA with SHA-256")
    .addHelpText("after", signHelp)
    .action((image: string, options: SignOptions) => sign(image, options, context));
  addRecordOption(addOutputOptions(command));
}

export function addUkiAttach(uki: Command, context: Context): void {
  const command = uki
    .command("attach")
    .summary("attach a signature that was made elsewhere")
    .description(
      "Attaches a signature to an image, once it is found to be one of this image: a bare one of what sign --export-digest wrote, or a whole PKCS #7.",
    )
    .argument("<image>", "the image that was signed")
    .option("--signature <file>", "the bare RSA signature; with --cert")
    .option("--cert <file>", "the certificate of the key that signed; further ones in the file go along")
    .option("--pkcs7 <file>", "or a whole signature in DER, as sbsign --detached writes it")
    .requiredOption("-o, --output <file>", "where to write the signed image; - for standard output")
    .addHelpText(
      "after",
      "\nExamples:\n  $ imgkit uki attach linux.efi --signature signature --cert db.pem -o signed.efi\n  $ imgkit uki attach linux.efi --pkcs7 linux.p7 -o signed.efi",
    )
    .action((image: string, options: AttachOptions) => attach(image, options, context));
  addRecordOption(addOutputOptions(command));
}

async function sign(path: string, options: SignOptions, context: Context): Promise<void> {
  const { key, cert, output, exportDigest } = options;
  if (exportDigest !== undefined) {
    if (key !== undefined || output !== undefined)
      throw usage("--export-digest goes with neither --key nor -o", "Sign what it writes, and give the signature to imgkit uki attach.");
    await exportToBeSigned(path, exportDigest, options, context);
    return;
  }
  if (key === undefined || cert === undefined || output === undefined) {
    throw usage("sign needs --key, --cert and -o", "For a key that is elsewhere, give --export-digest FILE instead.");
  }
  const signer = keySigner(key, options.passphraseFile);
  const write = { ...options, output };
  await withImage(path, write, "uki sign", context, async (image, inputs) => {
    const [certificate, ...chain] = inputs.certificates(cert);
    return signImage(image, certificate, signer, rsaVerifier, { chain, engine: nativeSha256 });
  });
}

async function attach(path: string, options: AttachOptions, context: Context): Promise<void> {
  const { signature, cert, pkcs7 } = options;
  const bare = signature !== undefined && cert !== undefined && pkcs7 === undefined;
  if (!bare && !(pkcs7 !== undefined && signature === undefined && cert === undefined)) {
    throw usage(
      "attach needs --signature and --cert, or --pkcs7",
      "The first is what a key makes of sign --export-digest, the second what sbsign --detached writes.",
    );
  }
  await withImage(path, options, "uki attach", context, async (image, inputs) => {
    if (pkcs7 !== undefined) return attachSignature(image, inputs.read(pkcs7), rsaVerifier, nativeSha256);
    const [certificate, ...chain] = inputs.certificates(cert ?? "");
    const made = inputs.read(signature ?? "");
    return signImage(image, certificate, () => made, rsaVerifier, { chain, engine: nativeSha256 });
  });
}

function usage(sentence: string, hint: string): CliError {
  return new CliError("USAGE", sentence, { hint });
}

type SigningInputs = Inputs & { certificates(path: string): readonly [Certificate, ...Certificate[]] };

async function withImage(
  path: string,
  options: WriteOptions,
  command: string,
  context: Context,
  job: (image: ByteSource, inputs: SigningInputs) => Promise<ByteSource>,
): Promise<void> {
  checkOutputs(options, context);
  const inputs = createInputs();
  const certificates: SigningInputs["certificates"] = (file) => certificatesOf(inputs.read(file));
  try {
    const image = await job(pacedSource(inputs.open(path)), { ...inputs, certificates });
    const written = await writeImage(command, image, inputs, options, context);
    const signatures = await readCertificates(image);
    const last = readSignedData(signatures.at(-1)?.bytes ?? new Uint8Array());
    const signer = last.signer === undefined ? undefined : signerDocument(last.signer);
    if (options.json) {
      const document = {
        command,
        output: { path: options.output, ...written },
        imageHash: toHex(last.imageHash),
        signatures: signatures.length,
        signer,
      };
      await printJson(context.io, document);
    } else if (!options.quiet && !context.stdoutTaken) {
      await printLine(context.io, `${written.digest}  ${options.output}  (${written.size} bytes, signed by ${signer?.subject})`);
    }
  } finally {
    inputs.close();
  }
}

async function exportToBeSigned(path: string, target: string, options: SignOptions, context: Context): Promise<void> {
  if (options.record !== undefined) throw usage("--export-digest makes no image that a record could name", "Give --record to attach.");
  const inputs = createInputs();
  try {
    const image = pacedSource(inputs.open(path));
    const toBeSigned = await imageToBeSigned(image, nativeSha256);
    const imageHash = toHex(await authenticodeHash(image, nativeSha256));
    await writeFileAtomic(target, [toBeSigned]);
    const digest = `sha256:${toHex(nativeSha256.hash(toBeSigned))}`;
    if (options.json) await printJson(context.io, { command: "uki sign", imageHash, toBeSigned: { path: target, digest, size: toBeSigned.length } });
    else if (!options.quiet) await printLine(context.io, `${digest}  ${target}  (${toBeSigned.length} bytes to be signed; the image's hash is ${imageHash})`);
  } finally {
    inputs.close();
  }
}
