import { defaultSeed } from "@imgkit/verity";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { addOutputOptions, addRecordOption } from "../options.ts";
import type { AttachOptions, SignOptions } from "../verity-sign/options.ts";

const signHelp = `
The signature is the detached PKCS #7 that the kernel's dm-verity and systemd take, over the root hash in lowercase digits. The same root hash, key and
certificate give the same bytes: RSA with PKCS #1 v1.5 and SHA-256, and no signing time. Of a file with several certificates all go along.

A disk is verified first. Then the signature of each root and /usr goes into the verity signature partition that belongs to it, or into a new one behind all
others; the disk, or the copy with -o, appears whole or not at all.

For a key that is elsewhere: --export-digest FILE writes what is to be signed, and attach takes the signature.

Examples:
  $ imgkit verity sign $(cat root.hash) --key verity.key --cert verity.pem -o root.hash.p7s
  $ imgkit verity sign disk.raw --key verity.key --cert verity.pem
  $ imgkit verity sign disk.raw --export-digest tbs
  $ openssl dgst -sha256 -sign verity.key -out signature tbs
  $ imgkit verity attach disk.raw --signature signature --cert verity.pem -o signed.raw
  $ veritysetup open root.erofs root root.verity $(cat root.hash) --root-hash-signature=root.hash.p7s`;

const attachHelp = `
Examples:
  $ imgkit verity attach $(cat root.hash) --signature signature --cert verity.pem -o root.hash.p7s
  $ imgkit verity attach disk.raw --signature signature --cert verity.pem
  $ imgkit verity attach disk.raw --pkcs7 root.hash.p7s --cert verity.pem -o signed.raw`;

/** The library of signatures is loaded for who signs: the other actions of verity start without it. */
const signing = () => import("../verity-sign/run.ts");

export function addVeritySign(verity: Command, context: Context): void {
  addTargetOptions(verity.command("sign"))
    .summary("sign a root hash, or those of a disk, or export what is to be signed")
    .description("Signs a root hash with a key and a certificate, into a file of its own or into the signature partition of a disk.")
    .option("--key <file>", "the private key, RSA, in PEM or DER")
    .option("--passphrase-file <file>", "the passphrase of the key, on the first line")
    .option("--export-digest <file>", "instead: write the bytes of which a key elsewhere makes a signature, RSA with SHA-256")
    .addHelpText("after", signHelp)
    .action(async (what: string, options: SignOptions) => (await signing()).sign(what, options, context));
  addTargetOptions(verity.command("attach"))
    .summary("join a signature of a root hash that was made elsewhere")
    .description("Joins a root hash and a signature, once it is found to be one of this root hash and by the certificate's key.")
    .option("--signature <file>", "the bare RSA signature of what sign --export-digest wrote")
    .option("--pkcs7 <file>", "or a whole signature in DER, as openssl smime -sign -binary -noattr writes it")
    .addHelpText("after", attachHelp)
    .action(async (what: string, options: AttachOptions) => (await signing()).attach(what, options, context));
}

function addTargetOptions(command: Command): Command {
  const described = command
    .argument("<what>", "a root hash in hexadecimal, or a disk image with a GPT")
    .option("--cert <file>", "the certificate of the key")
    .option("-o, --output <file>", "where to write the signature, - for standard output; or the signed disk: without it DISK is replaced")
    .option("--root-hash <hex>", "of a disk: only this root hash, known from elsewhere")
    .option("--seed <uuid>", "what the UUID of a new partition derives from", defaultSeed)
    .option("--replace-mbr", "put a protective MBR in the place of a hybrid one, which is refused otherwise");
  return addRecordOption(addOutputOptions(described));
}
