// Holds what an EFI system partition starts to the rest of the disk: no digest covers it, but the command line in it decides
// which root hash the kernel asks for, or whether it asks for one at all.

import { type ByteSource, ImgkitError, toHex } from "@imgkit/bytes";
import { commonTypes } from "@imgkit/verity";
import { readFat } from "../fat/reader.ts";
import { readUki, type Uki } from "../uki/reader.ts";
import type { DiskFinding } from "./findings.ts";
import { type MountPoint, namedRootHashes } from "./words.ts";
import type { PartitionDescription } from "./write.ts";

/** A unified kernel image on a disk. JSON as it is. */
export interface FoundUki {
  /** Number of the partition. */
  readonly partition: number;
  readonly path: string;
  readonly commandLine: string | undefined;
  readonly kernelRelease: string | undefined;
  /** Whether it has a certificate table. Whether a signature is good is not looked at. */
  readonly signed: boolean;
}

/** A file system with a verity tree, and the root hash that it has. */
export interface HeldPair {
  readonly mountPoint: MountPoint;
  readonly rootHash: Uint8Array;
}

/** Reads the EFI system partitions of a disk; `open` gives the bytes of one. */
export async function verifyBoot(
  partitions: readonly PartitionDescription[],
  pairs: readonly HeldPair[],
  open: (partition: PartitionDescription) => ByteSource,
): Promise<{ readonly ukis: FoundUki[]; readonly findings: DiskFinding[] }> {
  const ukis: FoundUki[] = [];
  const findings: DiskFinding[] = [];
  for (const partition of partitions.filter(({ type }) => type === commonTypes.esp)) {
    const { number, offset, size } = partition;
    const place = { partition: number, offset, length: size };
    try {
      const fat = await readFat(open(partition));
      findings.push(...fat.findings.map(({ message }): DiskFinding => ({ code: "ESP", message: `partition ${number}: ${message}`, ...place })));
      for (const node of fat.tree) {
        const uki = node.type === "file" ? await ukiOf(node.content) : undefined;
        if (uki === undefined) continue;
        const { commandLine, kernelRelease, signed } = uki;
        ukis.push({ partition: number, path: node.path, commandLine, kernelRelease, signed });
        const wrong = checkWords(commandLine ?? "", pairs);
        findings.push(
          ...wrong.map((one): DiskFinding => ({ code: "COMMAND_LINE", ...place, ...one, message: `partition ${number}, ${node.path}: ${one.message}` })),
        );
      }
    } catch (error) {
      if (!(error instanceof ImgkitError)) throw error;
      findings.push({ code: "ESP", message: `partition ${number}: ${error.message}`, ...place });
    }
  }
  return { ukis, findings };
}

/** Undefined for what is no unified kernel image. */
async function ukiOf(content: ByteSource): Promise<Uki | undefined> {
  const magic = await content.read(0, Math.min(2, content.size));
  if (magic[0] !== 0x4d || magic[1] !== 0x5a) return undefined;
  try {
    return await readUki(content);
  } catch (error) {
    if (error instanceof ImgkitError && error.code === "PE_UNSUPPORTED") return undefined;
    throw error;
  }
}

function checkWords(commandLine: string, pairs: readonly HeldPair[]): Pick<DiskFinding, "message" | "expected" | "found">[] {
  const named = namedRootHashes(commandLine);
  const out: Pick<DiskFinding, "message" | "expected" | "found">[] = [];
  for (const { mountPoint, word, rootHash } of named) {
    const own = pairs.filter((pair) => pair.mountPoint === mountPoint).map((pair) => toHex(pair.rootHash));
    if (own.includes(rootHash.toLowerCase())) continue;
    const expected = own.join(" or ") || "none: the disk has no such file system";
    out.push({ message: `the command line names another root hash than the disk's (${word})`, expected, found: rootHash });
  }
  for (const { mountPoint, rootHash } of pairs) {
    if (named.some((one) => one.mountPoint === mountPoint)) continue;
    out.push({
      message: `the command line names no root hash for ${mountPoint}: it would be mounted unverified, or not at all`,
      expected: toHex(rootHash),
      found: "none",
    });
  }
  return out;
}
