import { readFileSync } from "node:fs";
import { fromHex } from "@imgkit/bytes";
import { readError } from "@imgkit/bytes/node";
import type { VerifyOptions } from "@imgkit/verity";
import type { Command } from "commander";
import { CliError } from "./errors.ts";
import type { OutputOptions } from "./options.ts";
import { addParamOptions, integer, type ParamOptions, paramsOf } from "./verity-options.ts";

// How the commands of verity are told of a tree that stands in a file, and of its root hash.

export interface HashOptions extends OutputOptions, ParamOptions {
  readonly dataBlocks?: number;
  readonly hashOffset: number;
  readonly superblock: boolean;
  readonly rootHashFile?: string;
  readonly verbose?: boolean;
  readonly debug?: boolean;
}

export function addHashOptions(command: Command): Command {
  return addParamOptions(command)
    .option("--data-blocks <blocks>", "how many blocks of the data are covered (default, and 0: all)", integer)
    .option("--hash-offset <bytes>", "where the hash area starts in HASH", integer, 0)
    .option("--no-superblock", "there is no superblock: give all parameters")
    .option("--root-hash-file <file>", "read the root hash from there, or write it there (format)")
    .option("-v, --verbose", "say more")
    .option("--debug", "say still more");
}

/** veritysetup takes 0 for all. */
export function blocksOf({ dataBlocks }: HashOptions): { readonly dataBlocks?: number } {
  return dataBlocks ? { dataBlocks } : {};
}

/** Where the tree stands, and without a superblock what it is made with. */
export function placeOfTree(options: HashOptions): Pick<VerifyOptions, "hashOffset" | "params"> {
  const { hashOffset } = options;
  if (options.superblock) return { hashOffset };
  return { hashOffset, params: { ...paramsOf(options, options.salt ?? new Uint8Array(0)), ...blocksOf(options) } };
}

/** The root hash that is given in one of the two ways. */
export function rootHashOf(argument: string | undefined, options: Pick<HashOptions, "rootHashFile">): Uint8Array {
  return parseRootHash(rootHashText(argument, options));
}

function rootHashText(argument: string | undefined, options: Pick<HashOptions, "rootHashFile">): string {
  if (argument !== undefined && options.rootHashFile !== undefined)
    throw new CliError("USAGE", "the root hash is given twice", { hint: "Give it as an argument or with --root-hash-file." });
  if (argument !== undefined) return argument;
  if (options.rootHashFile === undefined)
    throw new CliError("USAGE", "no root hash is given", { hint: "Give it in hexadecimal after HASH, or with --root-hash-file." });
  try {
    return readFileSync(options.rootHashFile, "latin1").trim();
  } catch (cause) {
    throw readError(options.rootHashFile, cause);
  }
}

function parseRootHash(text: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2})+$/.test(text)) throw new CliError("USAGE", "not a root hash", { expected: "hexadecimal digits", found: JSON.stringify(text) });
  return fromHex(text);
}
