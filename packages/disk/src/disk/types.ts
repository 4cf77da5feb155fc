// The partition types of a verity pair. The Discoverable Partitions Specification has types for root and usr; opt has the general
// type of Linux data, so there the names tell which partitions belong together.

import { type Architecture, architectureTypes, commonTypes, partitionTypeName, type VerityTypes } from "@imgkit/verity";
import type { SplitFolder } from "./split.ts";

export interface PairTypes {
  /** Type UUIDs. */
  readonly data: string;
  readonly verity: string;
  /** There is none for opt. */
  readonly veritySig?: string;
  /** The label of the data partition; the verity partition's has `-verity` behind it, that of its signature `-verity-sig`. */
  readonly name: string;
}

export function pairTypes(arch: Architecture): Readonly<Record<"root" | SplitFolder, PairTypes>> {
  const { root, usr } = architectureTypes[arch];
  const named = (types: VerityTypes): PairTypes => ({ ...types, name: partitionTypeName(types.data) ?? "" });
  const generic = commonTypes["linux-generic"];
  return { root: named(root), usr: named(usr), opt: { data: generic, verity: generic, name: "opt" } };
}
