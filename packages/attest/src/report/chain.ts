// What a verdict over a disk rests on, link by link: from the anchor to the files. A link holds when nothing was found against it.

import type { DiskFinding, DiskFindingCode, DiskVerification } from "@imgkit/disk";

export interface Link {
  readonly name: string;
  readonly claim: string;
  /** `absent`: the disk has nothing of the kind. */
  readonly state: "holds" | "broken" | "absent";
  readonly findings: readonly DiskFinding[];
}

const boot = ["ESP", "COMMAND_LINE"] as const;
const announced = ["ROOT_HASH_NOT_ANNOUNCED", "IDENTIFIER", "NO_VERITY"] as const;
const signature = ["SIGNATURE"] as const;
const top = ["SUPERBLOCK", "ROOT_HASH"] as const;
const tree = ["TREE", "PADDING"] as const;
const data = ["DATA", "NOT_COVERED"] as const;

/** `certified`: certificates were given that the root hashes had to be signed by. */
export function chainOf({ findings, pairs, ukis }: DiskVerification, certified: boolean): Link[] {
  const later = new Set<DiskFindingCode>([...boot, ...announced, ...signature, ...top, ...tree, ...data]);
  const link = (name: string, claim: string, codes: readonly DiskFindingCode[] | undefined, present: boolean): Link => {
    const against = findings.filter(({ code }) => (codes === undefined ? !later.has(code) : codes.includes(code)));
    return { name, claim, state: against.length > 0 ? "broken" : present ? "holds" : "absent", findings: against };
  };
  const protectedParts = pairs.length > 0;
  return [
    link("partition table", "both copies are whole and agree, and nothing stands between the partitions", undefined, true),
    link("boot", "the command line of each unified kernel image names the root hashes of this disk", boot, ukis.length > 0),
    link("partition UUIDs", "they are the halves of the root hash, and what a seed gives is as it gives it", announced, protectedParts),
    ...(certified || findings.some(({ code }) => code === "SIGNATURE")
      ? [link("signature", "each root hash is signed by the key of a certificate that was given", signature, protectedParts)]
      : []),
    link("root hash", "the top of each tree has it, salted and hashed as the superblock says", top, protectedParts),
    link("tree", "each hash block has the digest that the block above it holds", tree, protectedParts),
    link("file system", "each block has its digest in the tree, and what no digest covers is zero", data, protectedParts),
  ];
}
