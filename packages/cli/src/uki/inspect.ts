import { type Certificate, type ImageSignature, readCertificateFile, readSignatures } from "@imgkit/attest";
import { rsaVerifier } from "@imgkit/attest/node";
import { type ByteSource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { authenticodeHash, DiskError, readUki, type Uki } from "@imgkit/disk";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { digestSource } from "../digest.ts";
import { exitCode } from "../errors.ts";
import { type Io, printJson, printLine } from "../io.ts";
import { addOutputOptions, type OutputOptions } from "../options.ts";
import { pacedSource } from "../turns.ts";
import { createInputs } from "./files.ts";

interface InspectOptions extends OutputOptions {
  readonly cert?: string;
}

const help = `
The exit code is 1 when a signature is not good for this very image, and with --cert when none is by that certificate.

Examples:
  $ imgkit uki inspect linux.efi
  $ imgkit uki inspect linux.efi --json | jq -r .commandLine
  $ imgkit uki inspect signed.efi --cert db.pem`;

export function addUkiInspect(uki: Command, context: Context): void {
  const command = uki
    .command("inspect")
    .summary("show sections, command line and signatures")
    .description("Shows what a unified kernel image is made of, with the digest of each section, and judges its signatures by its own bytes.")
    .argument("<image>", "a unified kernel image")
    .option("--cert <file>", "require a good signature by this certificate")
    .addHelpText("after", help)
    .action((image: string, options: InspectOptions) => inspect(image, options, context));
  addOutputOptions(command);
}

interface SignatureReport {
  readonly good: boolean;
  readonly problem: string | undefined;
  readonly signer: { readonly subject: string; readonly issuer: string; readonly serial: string; readonly fingerprint: string } | undefined;
}

async function inspect(path: string, options: InspectOptions, context: Context): Promise<void> {
  const inputs = createInputs();
  try {
    const image = pacedSource(inputs.open(path));
    const trusted = options.cert === undefined ? undefined : readCertificateFile(inputs.read(options.cert))[0];
    const uki = await readUki(image);
    const sections = await describeSections(uki);
    const imageHash = await hashOf(image, uki);
    const found = await readSignatures(image, rsaVerifier, nativeSha256);
    const signatures = found.map(describeSignature);
    const anchored = trusted === undefined || found.some((one) => isBy(one, trusted));
    if (!anchored || signatures.some(({ good }) => !good)) context.outcome = exitCode.found;
    const { arch, timestamp, kernelRelease, commandLine, osRelease, sbat } = uki;
    const cert = trusted === undefined ? {} : { certificate: { path: options.cert, fingerprint: `sha256:${trusted.fingerprint}`, signed: anchored } };
    const document = {
      command: "uki inspect",
      image: path,
      size: image.size,
      arch,
      timestamp,
      kernelRelease,
      commandLine,
      osRelease,
      sbat,
      sections,
      imageHash,
      signatures,
      ...cert,
    };
    if (options.json) await printJson(context.io, document);
    else if (!options.quiet) await print(context.io, document, anchored ? undefined : trusted);
  } finally {
    inputs.close();
  }
}

/** `undefined` for an unsigned image of which there is no one hash (it has gaps between its sections): all else can still be shown. */
async function hashOf(image: ByteSource, { signed }: Uki): Promise<string | undefined> {
  try {
    return toHex(await authenticodeHash(image, nativeSha256));
  } catch (error) {
    if (!signed && error instanceof DiskError && error.code === "PE_UNSUPPORTED") return undefined;
    throw error;
  }
}

function isBy({ problem, signed }: ImageSignature, { fingerprint }: Certificate): boolean {
  return problem === undefined && signed?.signer?.fingerprint === fingerprint;
}

function describeSignature({ problem, signed }: ImageSignature): SignatureReport {
  const signer = signed?.signer;
  return {
    good: problem === undefined,
    problem,
    signer:
      signer === undefined ? undefined : { subject: signer.subject, issuer: signer.issuer, serial: signer.serial, fingerprint: `sha256:${signer.fingerprint}` },
  };
}

interface SectionReport {
  readonly name: string;
  readonly size: number;
  readonly digest: string;
  readonly offset: number;
  readonly virtualAddress: number;
}

async function describeSections({ sections }: Uki): Promise<SectionReport[]> {
  const out: SectionReport[] = [];
  for (const { name, content, offset, virtualAddress } of sections) {
    const { size, digest } = await digestSource(content);
    out.push({ name, size, digest, offset, virtualAddress });
  }
  return out;
}

interface Printed extends Pick<Uki, "arch" | "kernelRelease" | "commandLine" | "osRelease"> {
  readonly sections: readonly SectionReport[];
  readonly imageHash: string | undefined;
  readonly signatures: readonly SignatureReport[];
}

async function print(io: Io, uki: Printed, missing: Certificate | undefined): Promise<void> {
  const pretty = /^PRETTY_NAME=["']?(.*?)["']?$/m.exec(uki.osRelease ?? "")?.[1];
  const facts = {
    architecture: uki.arch ?? "unknown",
    kernel: uki.kernelRelease,
    system: pretty,
    "command line": uki.commandLine,
    "image hash": uki.imageHash,
  };
  for (const [name, value] of Object.entries(facts)) if (value !== undefined) await printLine(io, `${`${name}:`.padEnd(14)} ${value}`);
  for (const { name, size, digest } of uki.sections) await printLine(io, `  ${name.padEnd(9)} ${String(size).padStart(11)}  ${digest}`);
  if (uki.signatures.length === 0) await printLine(io, "not signed");
  for (const { signer, problem } of uki.signatures) {
    await printLine(io, problem === undefined ? `signed by ${signer?.subject}, ${signer?.fingerprint}` : `BAD signature: ${problem}`);
  }
  if (missing !== undefined) await printLine(io, `NOT signed by ${missing.subject}, sha256:${missing.fingerprint}`);
}
