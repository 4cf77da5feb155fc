import type { ErofsCompression, DiskOptions as LayoutOptions, SplitFolder } from "@imgkit/disk";
import type { Architecture } from "@imgkit/verity";
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseAmount } from "../gpt/values.ts";
import { collectText, parseSectorSize } from "../options.ts";

/** What signs what boots. */
export interface SecureBootOptions {
  readonly secureBootKey?: string;
  readonly secureBootPassphraseFile?: string;
  readonly secureBootCert?: string;
  readonly secureBootSignature?: string;
  readonly secureBootExport?: string;
}

/** What signs the root hashes. */
export interface VeritySignOptions {
  readonly verityKey?: string;
  readonly verityPassphraseFile?: string;
  readonly verityCert?: string;
  readonly veritySignature?: string;
  readonly verityExport?: string;
}

/** What makes a disk boot. */
export interface BootOptions extends SecureBootOptions {
  readonly arch: Architecture;
  readonly kernel?: string;
  readonly initrd?: readonly string[];
  readonly cmdline?: string;
  readonly stub?: string;
  /** False with --no-esp. */
  readonly esp: boolean;
  readonly espSize?: number;
}

/** What is on a disk, and where. */
export interface PartitionOptions extends BootOptions, VeritySignOptions {
  readonly seed?: string;
  readonly sectorSize: 512 | 4096;
  readonly compression: ErofsCompression;
  readonly split?: readonly SplitFolder[];
  readonly var?: number;
  readonly home?: number;
}

const MIB = 1 << 20;

export function addPartitionOptions(command: Command): Command {
  return command
    .option("--seed <uuid>", "derive all UUIDs and the salt from this, as systemd-repart does (default: a fixed seed, and the disk's UUID from the root hash)")
    .addOption(new Option("--arch <name>", "whose partition types and stub").choices(["x86-64", "arm64", "riscv64"]).default("x86-64"))
    .addOption(new Option("--sector-size <bytes>", "of the disk").argParser(parseSectorSize).default(512))
    .addOption(new Option("--compression <name>", "of the file systems' files: none, or lz4").choices(["none", "lz4"]).default("none"))
    .option("--split <folders>", "give usr, opt or both (usr,opt) a file system and a verity tree of their own", parseSplit)
    .option("--var <size>", "an empty partition for /var, such as 1G: systemd formats and mounts it at boot", parseSize)
    .option("--home <size>", "the same for /home", parseSize)
    .option("--verity-key <file>", "sign the root hashes of root and /usr with this RSA key, each into a partition of its own")
    .option("--verity-passphrase-file <file>", "the passphrase of the key, on the first line")
    .option("--verity-cert <file>", "the key's certificate; of a file with several all go along")
    .option("--verity-export <file>", "write what is to be signed, for a key that is kept elsewhere: openssl dgst -sha256 -sign KEY FILE")
    .option("--verity-signature <file>", "join the signature that was made elsewhere (imgkit verity attach does so on a ready disk)");
}

export function addBootOptions(command: Command): Command {
  return command
    .option("--kernel <file>", "the kernel (default: the tree's, from /vmlinuz or /boot)")
    .option("--initrd <file>", "an initrd (repeatable; default: one that is assembled from the tree)", collectText)
    .option("--cmdline <text>", "more words for the kernel command line; those that name root hashes are put before it")
    .option("--stub <file>", "systemd's EFI stub (default: the tree's, from /usr/lib/systemd/boot/efi)")
    .option("--no-esp", "write no EFI system partition, even when the tree has a kernel")
    .option("--esp-size <size>", "of the EFI system partition (default: the smallest FAT32 that holds the kernel image)", parseSize)
    .option("--secure-boot-key <file>", "sign the kernel image with this RSA key in PEM or DER")
    .option("--secure-boot-passphrase-file <file>", "the passphrase of the key, on the first line")
    .option("--secure-boot-cert <file>", "the key's certificate; further ones in the file go along")
    .option("--secure-boot-export <file>", "write what is to be signed, for a key that is kept elsewhere: openssl dgst -sha256 -sign KEY FILE")
    .option("--secure-boot-signature <file>", "attach the signature that was made elsewhere");
}

/** Bytes; whole MiB, as partitions are. */
function parseSize(text: string): number {
  const { value, sectors } = parseAmount(text);
  if (sectors || value === 0 || value % MIB !== 0) throw new InvalidArgumentError("Expected whole MiB, such as 512M or 2G.");
  return value;
}

function parseSplit(text: string): readonly SplitFolder[] {
  const folders = text.split(",");
  if (folders.length !== new Set(folders).size || !folders.every((folder) => folder === "usr" || folder === "opt")) {
    throw new InvalidArgumentError("Expected usr, opt or usr,opt.");
  }
  return folders as readonly SplitFolder[];
}

export function layoutOptions({ arch, sectorSize, compression, seed, split, var: varSize, home }: PartitionOptions): LayoutOptions {
  const empty = { ...(varSize === undefined ? {} : { var: varSize }), ...(home === undefined ? {} : { home }) };
  return { arch, sectorSize, compression, empty, ...(seed === undefined ? {} : { seed }), ...(split === undefined ? {} : { split }) };
}
