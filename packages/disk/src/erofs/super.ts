// Reads the superblock of an EROFS image, and says which features of a stranger's image are read here.

import { type ByteSource, crc32cRaw } from "@imgkit/bytes";
import { DiskError, type DiskErrorCode } from "../errors.ts";
import {
  COMPAT_SB_CHKSUM,
  INCOMPAT_COMPR_CFGS,
  INCOMPAT_ZERO_PADDING,
  incompatNames,
  SUPER_MAGIC,
  SUPER_OFFSET,
  type SuperBlock,
  superBlock,
} from "./format.ts";
import { corrupt } from "./image.ts";

/**
 * Decodes and checks the superblock of an image.
 * @throws DiskError EROFS_CORRUPT when it is none, its checksum is wrong or the image is shorter than it says; EROFS_UNSUPPORTED
 * for features not read here.
 */
export async function readSuper(source: ByteSource): Promise<SuperBlock> {
  const end = SUPER_OFFSET + superBlock.size;
  if (source.size < end) throw corrupt("too short for an EROFS image", 0, { expected: `at least ${end} bytes`, found: `${source.size}` });
  const values = superBlock.decode(await source.read(SUPER_OFFSET, end));
  if (values.magic !== SUPER_MAGIC) {
    throw corrupt("not an EROFS image", SUPER_OFFSET, { field: "magic", expected: `0x${SUPER_MAGIC.toString(16)}`, found: `0x${values.magic.toString(16)}` });
  }
  const only = (field: keyof SuperBlock, fits: boolean, expected: string, code: DiskErrorCode = "EROFS_UNSUPPORTED", names = ""): void => {
    if (fits) return;
    const sentence = code === "EROFS_CORRUPT" ? "an EROFS superblock that cannot be right" : "an EROFS image with a feature that is not read here";
    throw new DiskError(code, sentence, {
      offset: SUPER_OFFSET + superBlock.fields[field].at,
      field,
      expected,
      found: `${values[field]}${names && `: ${names}`}`,
    });
  };
  only("blkszbits", values.blkszbits >= 9 && values.blkszbits <= 16, "9 to 16");
  only("feature_incompat", unread(values) === "", "no chunks, other devices or packed tails", "EROFS_UNSUPPORTED", unread(values));
  // Without COMPR_CFGS, there is only LZ4.
  const algorithms = values.feature_incompat & INCOMPAT_COMPR_CFGS ? algorithmNames(values.available_compr_algs & ~1) : "";
  only("available_compr_algs", algorithms === "", "LZ4", "EROFS_UNSUPPORTED", algorithms);
  only("extra_devices", values.extra_devices === 0, "0");
  only("dirblkbits", values.dirblkbits === 0, "0");
  only("blocks", values.blocks * 2 ** values.blkszbits <= source.size, `at most the file's ${source.size} bytes`, "EROFS_CORRUPT");
  if (values.feature_compat & COMPAT_SB_CHKSUM) await checkSuper(source, values);
  return values;
}

/** The names of the features that an image has and that are not read here; empty when there are none. */
function unread({ feature_incompat }: SuperBlock): string {
  const names: string[] = [];
  for (let bit = 1; bit <= 0x8000_0000; bit *= 2) {
    if (bit === INCOMPAT_ZERO_PADDING || bit === INCOMPAT_COMPR_CFGS || Math.floor(feature_incompat / bit) % 2 === 0) continue;
    names.push(incompatNames.find(([known]) => known === bit)?.[1] ?? "a feature without a name here");
  }
  return names.join(", ");
}

function algorithmNames(bits: number): string {
  const names = ["LZ4", "LZMA", "DEFLATE", "zstd"];
  return Array.from({ length: 16 }, (_, i) => ((bits >> i) & 1 ? (names[i] ?? `algorithm ${i}`) : ""))
    .filter((name) => name !== "")
    .join(", ");
}

async function checkSuper(source: ByteSource, { blkszbits, checksum }: SuperBlock): Promise<void> {
  // The checksum covers the rest of the superblock's block; with blocks of 512 bytes that is one block from byte 1024 on.
  const blockSize = 2 ** blkszbits;
  const end = blockSize > SUPER_OFFSET ? blockSize : SUPER_OFFSET + blockSize;
  const bytes = (await source.read(SUPER_OFFSET, Math.min(end, source.size))).slice();
  bytes.fill(0, superBlock.fields.checksum.at, superBlock.fields.checksum.at + superBlock.fields.checksum.length);
  const found = crc32cRaw(bytes, 0xffff_ffff);
  if (found !== checksum) {
    throw corrupt("the superblock's checksum is wrong", SUPER_OFFSET + superBlock.fields.checksum.at, {
      field: "checksum",
      expected: `0x${checksum.toString(16)}`,
      found: `0x${found.toString(16)}`,
    });
  }
}
