import { toHex } from "@imgkit/bytes";
import type { FecLayout } from "./fec/layout.ts";
import type { VerityLayout } from "./layout.ts";

/** What veritysetup 2.6 prints about a hash device. */
export interface VeritysetupReport {
  /** The hash device as the user named it. */
  readonly device: string;
  readonly layout: VerityLayout;
  /** The UUID as it stands in the superblock (or as the user wrote it, when formatting); absent without a superblock. */
  readonly uuid?: string;
  /** Known to `format`, not to `dump`. */
  readonly rootHash?: Uint8Array;
  /** The algorithm's name as the user wrote it; default: the superblock's. */
  readonly hashName?: string;
  /** Of the parity; `offset` is where it starts in its file, `shared` whether that is the hash device. */
  readonly fec?: { readonly layout: FecLayout; readonly offset: number; readonly shared: boolean };
}

/** The lines that `veritysetup format` (with a root hash) and `veritysetup dump` (without) print, character for character, less the newlines. */
export function veritysetupReport({ device, layout, uuid, rootHash, hashName, fec }: VeritysetupReport): string[] {
  const lines = [
    `VERITY header information for ${device}`,
    `UUID:            \t${uuid ?? ""}`,
    `Hash type:       \t${layout.hashType}`,
    `Data blocks:     \t${layout.dataBlocks}`,
    `Data block size: \t${layout.dataBlockSize}`,
    `Hash blocks:     \t${layout.hashBlocks}`,
    `Hash block size: \t${layout.hashBlockSize}`,
    `Hash algorithm:  \t${hashName ?? layout.hash}`,
    ...(fec === undefined ? [] : [`FEC RS roots:   \t${fec.layout.roots}`, `FEC blocks:     \t${fec.layout.rounds * fec.layout.roots}`]),
    `Salt:            \t${layout.salt.length === 0 ? "-" : toHex(layout.salt)}`,
  ];
  if (rootHash !== undefined) lines.push(`Root hash:      \t${toHex(rootHash)}`);
  // With an offset veritysetup does not know how large the device has to be.
  if (layout.hashOffset === 0) lines.push(`Hash device size: \t${layout.size + (fec?.shared ? fec.layout.size : 0)} [bytes]`);
  if (fec !== undefined && fec.offset === 0 && !fec.shared) lines.push(`FEC device size: \t${fec.layout.size} [bytes]`);
  return lines;
}
