import { type ByteRange, fromHex } from "@imgkit/bytes";
import { checkVerityParams, type VerityParams } from "@imgkit/verity";
import { type Command, InvalidArgumentError } from "commander";

/** What a tree is made with, by veritysetup's flags. */
export interface ParamOptions {
  readonly hash: string;
  readonly format: number;
  readonly dataBlockSize: number;
  readonly hashBlockSize: number;
  readonly salt?: Uint8Array;
}

/** Adds them, and frees `-h`, which is veritysetup's for the hash algorithm. */
export function addParamOptions(command: Command): Command {
  return command
    .helpOption("-?, --help", "display help for command")
    .option("-h, --hash <name>", "hash algorithm", "sha256")
    .option("--format <number>", "1: normal, 0: original Chrome OS", integer, 1)
    .option("--data-block-size <bytes>", "block size of the data", integer, 4096)
    .option("--hash-block-size <bytes>", "block size of the tree", integer, 4096)
    .option("-s, --salt <hex>", "salt, 0 to 256 bytes; - for none", parseSalt);
}

/** A whole number in decimal digits, as veritysetup takes them: no suffix, no 0x. */
export function integer(text: string): number {
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}

function parseSalt(text: string): Uint8Array {
  if (text === "-") return new Uint8Array(0);
  if (!/^([0-9a-fA-F]{2}){0,256}$/.test(text)) throw new InvalidArgumentError("Expected at most 256 bytes in hexadecimal, or -.");
  return fromHex(text);
}

export function paramsOf(options: ParamOptions, salt: Uint8Array): VerityParams {
  const params = {
    // veritysetup takes any case and the kernel's names are lower.
    hash: options.hash.toLowerCase() as VerityParams["hash"],
    hashType: options.format as VerityParams["hashType"],
    dataBlockSize: options.dataBlockSize,
    hashBlockSize: options.hashBlockSize,
    salt,
  };
  checkVerityParams(params);
  return params;
}

/** A run of bytes on the command line: OFFSET+SIZE. */
export function collectRange(text: string, before: readonly ByteRange[] | undefined): readonly ByteRange[] {
  const [, offset, size] = /^([0-9]{1,16})\+([0-9]{1,16})$/.exec(text) ?? [];
  if (offset === undefined || size === undefined || Number(size) === 0) throw new InvalidArgumentError("Expected OFFSET+SIZE in bytes, such as 1048576+4096.");
  const start = integer(offset);
  return [...(before ?? []), { start, end: start + integer(size) }];
}
