// The protective MBR to the last bit (UEFI 2.10 section 5.2.3): what a reader of the table overlooks, a verifier must not.

import { type ByteSource, equalBytes } from "@imgkit/bytes";
import type { DiskFinding } from "./findings.ts";

/** Where the four records start, and where the sector's signature ends. */
const RECORDS = 446;
const END = 512;
/** The ending CHS address of the first record. */
const END_CHS = RECORDS + 5;

/** A finding when the records and the signature are not those of a protective MBR for a disk of so many sectors. */
export async function checkProtectiveMbr(source: ByteSource, sectors: number): Promise<DiskFinding | undefined> {
  const found = (await source.read(RECORDS, END)).slice();
  const expected = protectiveRecords(sectors - 1);
  // The end is ff ff ff (libfdisk, and here) or, where it can be told, the true address (sgdisk): the specification allows both.
  const chs = found.subarray(END_CHS - RECORDS, END_CHS - RECORDS + 3);
  if (equalBytes(chs, endAddress(sectors - 1))) found.set([0xff, 0xff, 0xff], END_CHS - RECORDS);
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  if (at < 0) return undefined;
  const hex = (byte: number | undefined): string => `0x${(byte ?? 0).toString(16).padStart(2, "0")}`;
  const values = { expected: hex(expected[at]), found: hex(found[at]) };
  const message = `protective MBR, byte ${RECORDS + at}: not as UEFI has it (expected ${values.expected}, found ${values.found})`;
  return { code: "MBR_RECORD", message, offset: RECORDS + at, length: 1, ...values };
}

/** One record over the whole disk from sector 1, three empty ones, the signature. */
function protectiveRecords(lastLba: number): Uint8Array {
  const bytes = new Uint8Array(END - RECORDS);
  bytes.set([0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff, 0x01]);
  new DataView(bytes.buffer).setUint32(12, Math.min(lastLba, 0xffff_ffff), true);
  bytes.set([0x55, 0xaa], bytes.length - 2);
  return bytes;
}

/** The cylinder, head and sector of a sector of a disk with 255 heads and 63 sectors, as an MBR packs them. */
function endAddress(lba: number): Uint8Array {
  const cylinder = Math.floor(lba / (255 * 63));
  if (cylinder > 1023) return Uint8Array.of(0xff, 0xff, 0xff);
  return Uint8Array.of(Math.floor(lba / 63) % 255, ((lba % 63) + 1) | ((cylinder >> 2) & 0xc0), cylinder & 0xff);
}
