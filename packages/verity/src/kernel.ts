import { toHex } from "@imgkit/bytes";
import type { VerityLayout } from "./layout.ts";

/** A verity device as the kernel sets it up while booting. */
export interface KernelVerity {
  /** Name under /dev/mapper. */
  readonly name: string;
  readonly layout: VerityLayout;
  readonly rootHash: Uint8Array;
  /** UUID of the data partition. */
  readonly dataUuid: string;
  /** UUID of the partition with the tree. */
  readonly verityUuid: string;
}

/**
 * A verity table line for `dmsetup create` (kernel, Documentation/admin-guide/device-mapper/verity.rst), partitions by UUID. Sizes
 * are in sectors of 512 bytes whatever the disk has.
 */
export function verityTable({ layout, rootHash, dataUuid, verityUuid }: Omit<KernelVerity, "name">): string {
  return [
    0,
    layout.dataSize / 512,
    "verity",
    layout.hashType,
    `PARTUUID=${dataUuid}`,
    `PARTUUID=${verityUuid}`,
    layout.dataBlockSize,
    layout.hashBlockSize,
    layout.dataBlocks,
    layout.treeOffset / layout.hashBlockSize,
    layout.hash,
    toHex(rootHash),
    layout.salt.length === 0 ? "-" : toHex(layout.salt),
  ].join(" ");
}

/** The kernel option that sets up such devices without an initrd (kernel, dm-init.rst), read-only, numbered in order. */
export function dmModCreate(devices: readonly KernelVerity[]): string {
  return `dm-mod.create="${devices.map((d) => `${d.name},,,ro,${verityTable(d)}`).join(";")}"`;
}
