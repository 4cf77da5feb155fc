import { commonTypes, partitionType } from "@imgkit/verity";
import type { DiskFinding } from "./findings.ts";
import type { MountPoint } from "./words.ts";
import type { PartitionDescription } from "./write.ts";

/** A data partition, the partition with its verity tree, and that with the signature of its root hash if there is one. */
export interface PairedPartitions {
  readonly data: PartitionDescription;
  readonly verity: PartitionDescription;
  readonly veritySig?: PartitionDescription;
}

/** Where the file system of a pair belongs. */
export function mountPointOf({ data }: PairedPartitions): MountPoint {
  if (data.type === commonTypes["linux-generic"]) return "/opt";
  return data.typeName.startsWith("usr-") ? "/usr" : "/";
}

/**
 * Pairs the root and usr partitions of every architecture with their verity partitions, in the order of their numbers. What is
 * left without a partner is a finding, and so is a disk without any pair: its content is not proven by anything. opt has no type of
 * its own: there the labels `opt` and `opt-verity` tell.
 */
export function pairPartitions(partitions: readonly PartitionDescription[]): { pairs: PairedPartitions[]; findings: DiskFinding[] } {
  const pairs: PairedPartitions[] = [];
  const findings: DiskFinding[] = [];
  const alone = (partition: PartitionDescription, missing: string): void => {
    const { number, typeName, offset, size } = partition;
    findings.push({ code: "NO_VERITY", message: `partition ${number} (${typeName}) has no ${missing} partition`, partition: number, offset, length: size });
  };
  const ofType = (typeName: string): PartitionDescription[] => partitions.filter((p) => p.typeName === typeName);
  const typeNames = [...new Set(partitions.map((p) => p.typeName.replace(/-verity$/, "")))].filter((name) => partitionType(`${name}-verity`) !== undefined);
  for (const typeName of typeNames) {
    const data = ofType(typeName);
    const verity = ofType(`${typeName}-verity`);
    const signatures = ofType(`${typeName}-verity-sig`);
    for (let i = 0; i < Math.max(data.length, verity.length); i++) {
      const [one, other, veritySig] = [data[i], verity[i], signatures[i]];
      if (one !== undefined && other !== undefined) pairs.push({ data: one, verity: other, ...(veritySig === undefined ? {} : { veritySig }) });
      else if (one !== undefined) alone(one, `${typeName}-verity`);
      else if (other !== undefined) alone(other, typeName);
    }
  }
  const ofLabel = (name: string): PartitionDescription[] => partitions.filter((p) => p.type === commonTypes["linux-generic"] && p.name === name);
  const [opt, optVerity] = [ofLabel("opt"), ofLabel("opt-verity")];
  if (opt.length === 1 && optVerity.length === 1) pairs.push({ data: opt[0] as PartitionDescription, verity: optVerity[0] as PartitionDescription });
  if (pairs.length === 0 && findings.length === 0) {
    findings.push({ code: "NO_VERITY", message: "the disk has no partition that a verity tree protects", offset: 0, length: 0 });
  }
  return { pairs, findings };
}
