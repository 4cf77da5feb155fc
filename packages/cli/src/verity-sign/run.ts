import { rootHashToBeSigned } from "@imgkit/attest";
import { fromHex, toHex } from "@imgkit/bytes";
import { nativeSha256, writeFileAtomic } from "@imgkit/bytes/node";
import type { RootHashSignature } from "@imgkit/verity";
import type { Context } from "../context.ts";
import { printJson, printLine } from "../io.ts";
import { certificatesOf, keySigner, signerDocument } from "../keys.ts";
import { checkSideOutputs, claimStandardOutput, outputName, writeOutput } from "../outputs.ts";
import { writeRecord } from "../record.ts";
import { joinedRootHash, signedRootHash } from "../root-hash-signature.ts";
import { createInputs, type Inputs } from "../uki/files.ts";
import { intoDisk, verifiedPairs } from "./disk.ts";
import { type AttachOptions, type IntoOptions, type Job, type SignOptions, signerOf, type TargetOptions, usage } from "./options.ts";

// imgkit verity sign and attach: a root hash and its signature, joined in a file or on a disk.

export async function sign(what: string, options: SignOptions, context: Context): Promise<void> {
  const { key, cert, exportDigest } = options;
  if (exportDigest !== undefined) {
    if (key !== undefined || options.output !== undefined || options.record !== undefined)
      throw usage("--export-digest goes with none of --key, -o and --record", "Sign what it writes, and give the signature to imgkit verity attach.");
    return exportToBeSigned(what, exportDigest, options, context);
  }
  if (key === undefined || cert === undefined) throw usage("sign needs --key and --cert", "For a key that is elsewhere, give --export-digest FILE instead.");
  const signer = keySigner(key, options.passphraseFile);
  await into("verity sign", what, options, context, (inputs) => {
    const certificates = certificatesOf(inputs.read(cert));
    return { certificates, make: (rootHash) => signedRootHash(rootHash, certificates, signer) };
  });
}

export async function attach(what: string, options: AttachOptions, context: Context): Promise<void> {
  const { signature, pkcs7, cert } = options;
  if (cert === undefined || (signature === undefined) === (pkcs7 === undefined)) {
    throw usage(
      "attach needs --cert, and --signature or --pkcs7",
      "The first is what a key makes of sign --export-digest, the second what openssl smime -sign writes.",
    );
  }
  await into("verity attach", what, { ...options, one: true }, context, (inputs) => {
    const certificates = certificatesOf(inputs.read(cert));
    const made = inputs.read(signature ?? pkcs7 ?? "");
    const make = (rootHash: Uint8Array): Promise<RootHashSignature> =>
      pkcs7 === undefined ? signedRootHash(rootHash, certificates, () => made) : joinedRootHash(rootHash, certificates, made);
    return { certificates, make };
  });
}

async function into(command: string, what: string, options: IntoOptions, context: Context, prepare: (inputs: Inputs) => Job): Promise<void> {
  const inputs = createInputs();
  try {
    const rootHash = rootHashIn(what, options);
    const job = prepare(inputs);
    if (rootHash === undefined) await intoDisk(command, what, options, context, inputs, job);
    else await intoFile(command, rootHash, options, context, inputs, job);
  } finally {
    inputs.close();
  }
}

/** A root hash is told from a disk's name by its form: SHA-1 to SHA-512. */
function rootHashIn(what: string, { rootHash }: TargetOptions): Uint8Array | undefined {
  if (!/^([0-9a-fA-F]{2}){20,64}$/.test(what)) return undefined;
  if (rootHash !== undefined) throw usage("--root-hash is for a disk", "Give the root hash once.");
  return fromHex(what);
}

async function intoFile(command: string, rootHash: Uint8Array, options: IntoOptions, context: Context, inputs: Inputs, job: Job): Promise<void> {
  const { io } = context;
  if (options.output === undefined) throw usage("there is no output", "Give -o FILE, or -o - for standard output.");
  const output = outputName(options.output);
  claimStandardOutput("the signature", output, options, context);
  if (output !== "-") checkSideOutputs(output, { "--record": options.record });
  const made = await job.make(rootHash);
  const written = await writeOutput([made.signature], output, io);
  const certificate = signerOf(job, made);
  if (options.record !== undefined) {
    const outputs = [{ name: options.output, kind: "file" as const, ...written }];
    await writeRecord(options.record, { command, arguments: context.argv, epoch: undefined, inputs: await inputs.recorded(), outputs });
  }
  if (options.json) {
    const document = { command, rootHash: toHex(rootHash), output: { path: options.output, ...written }, signer: signerDocument(certificate) };
    await printJson(io, document);
  } else if (!options.quiet && !context.stdoutTaken) {
    await printLine(io, `${written.digest}  ${options.output}  (${written.size} bytes, ${toHex(rootHash)} signed by ${certificate.subject})`);
  }
}

async function exportToBeSigned(what: string, target: string, options: SignOptions, context: Context): Promise<void> {
  const given = rootHashIn(what, options);
  const pairs = given === undefined ? await verifiedPairs("verity sign", what, { ...options, one: true }, context) : [{ rootHash: toHex(given) }];
  if (pairs === undefined) return;
  const rootHash = pairs[0]?.rootHash ?? "";
  const toBeSigned = rootHashToBeSigned(fromHex(rootHash));
  await writeFileAtomic(target, [toBeSigned]);
  const digest = `sha256:${toHex(nativeSha256.hash(toBeSigned))}`;
  if (options.json) await printJson(context.io, { command: "verity sign", rootHash, toBeSigned: { path: target, digest, size: toBeSigned.length } });
  else if (!options.quiet) await printLine(context.io, `${digest}  ${target}  (${toBeSigned.length} bytes to be signed: the root hash in digits)`);
}
