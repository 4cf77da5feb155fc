// What stands at the start of a qcow2 file, checked: whatever this reader does not do is refused by its name.

import { type ByteSource, printable } from "@imgkit/bytes";
import { DiskError } from "../../errors.ts";
import { corrupt } from "../errors.ts";
import { featureNames, headerV2, headerV3, MAGIC, type Qcow2HeaderV2, V3_BASE_LENGTH } from "./format.ts";

/** What reading needs of a header. Offsets and sizes in bytes. */
export interface Qcow2Layout {
  readonly version: number;
  /** Of the disk. */
  readonly size: number;
  readonly clusterBits: number;
  readonly l1: { readonly offset: number; readonly entries: number };
  readonly compression: "deflate" | "zstd";
}

const NAME = "qcow2";
/** QEMU's own limit. */
const MAX_L1 = 32 << 20;
const INCOMPATIBLE = { dirty: 1n, corrupt: 2n, external: 4n, compression: 8n } as const;

/** @throws DiskError CONTAINER_CORRUPT, CONTAINER_UNSUPPORTED. */
export async function readHeader(file: ByteSource): Promise<Qcow2Layout> {
  if (file.size < headerV2.size) throw corrupt(NAME, 0, "header", `${headerV2.size} bytes`, `${file.size}`);
  const bytes = await file.read(0, Math.min(file.size, headerV3.size));
  const header = headerV2.decode(bytes);
  const { fields } = headerV2;
  if (header.magic !== MAGIC) throw corrupt(NAME, 0, "magic", "QFI\\xfb", `0x${header.magic.toString(16)}`);
  if (header.version !== 2 && header.version !== 3) throw unsupported(fields.version.at, "version", "2 or 3", `${header.version}`);
  const { clusterBits } = header;
  if (clusterBits < 9 || clusterBits > 21) throw corrupt(NAME, fields.clusterBits.at, "cluster_bits", "9 to 21", `${clusterBits}`);
  if (header.backingFileOffset !== 0n) throw await backingFile(file, header);
  if (header.cryptMethod !== 0) throw unsupported(fields.cryptMethod.at, "crypt_method", "no encryption", header.cryptMethod === 2 ? "LUKS" : "AES");
  const compression = header.version === 2 ? "deflate" : readV3(bytes);
  return { version: header.version, clusterBits, compression, ...tableOf(file, header) };
}

function tableOf(file: ByteSource, header: Qcow2HeaderV2): Pick<Qcow2Layout, "size" | "l1"> {
  const { fields } = headerV2;
  const cluster = 2 ** header.clusterBits;
  const size = Number(header.size);
  if (!Number.isSafeInteger(size)) throw corrupt(NAME, fields.size.at, "size", "at most 2^53 − 1", `${header.size}`);
  const entries = Math.ceil(size / (cluster * (cluster / 8)));
  if (header.l1Size < entries || header.l1Size * 8 > MAX_L1) {
    throw corrupt(NAME, fields.l1Size.at, "l1_size", `${entries} for a disk of ${size} bytes, at most ${MAX_L1 / 8}`, `${header.l1Size}`);
  }
  const offset = Number(header.l1TableOffset);
  if (header.l1Size > 0 && (offset === 0 || offset % cluster !== 0 || offset + 8 * header.l1Size > file.size)) {
    throw corrupt(NAME, fields.l1TableOffset.at, "l1_table_offset", `a whole cluster of ${cluster} bytes, the table within ${file.size} bytes`, `${offset}`);
  }
  return { size, l1: { offset, entries } };
}

function readV3(bytes: Uint8Array): Qcow2Layout["compression"] {
  const { fields } = headerV3;
  const padded = new Uint8Array(headerV3.size);
  if (bytes.length < V3_BASE_LENGTH) throw corrupt(NAME, 0, "header", `${V3_BASE_LENGTH} bytes`, `${bytes.length}`);
  padded.set(bytes);
  const header = headerV3.decode(padded);
  if (header.headerLength < V3_BASE_LENGTH || header.headerLength % 8 !== 0) {
    throw corrupt(NAME, fields.headerLength.at, "header_length", `${V3_BASE_LENGTH} or more, a multiple of 8`, `${header.headerLength}`);
  }
  checkFeatures(header.incompatibleFeatures);
  const type = header.headerLength > fields.compressionType.at ? header.compressionType : 0;
  if (type > 1) throw unsupported(fields.compressionType.at, "compression_type", "0 (deflate) or 1 (zstd)", `${type}`);
  const flagged = (header.incompatibleFeatures & INCOMPATIBLE.compression) !== 0n;
  if (flagged !== (type !== 0)) {
    throw corrupt(
      NAME,
      fields.compressionType.at,
      "compression_type",
      flagged ? "another than 0, as its feature bit says" : "0, without its feature bit",
      `${type}`,
    );
  }
  return type === 0 ? "deflate" : "zstd";
}

/** A file that was not closed (the dirty bit) has wrong reference counts at most, which nobody needs who only reads. */
function checkFeatures(features: bigint): void {
  const at = headerV3.fields.incompatibleFeatures.at;
  if ((features & INCOMPATIBLE.corrupt) !== 0n) {
    throw corrupt(NAME, at, "incompatible_features", "an image that is whole", "the corrupt bit, which qemu set", "Mend it: qemu-img check -r all FILE");
  }
  const unknown = features & ~(INCOMPATIBLE.dirty | INCOMPATIBLE.compression);
  if (unknown === 0n) return;
  const names = Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => (unknown & (1n << BigInt(bit))) !== 0n)
    .map((bit) => featureNames.find((one) => one.type === 0 && one.bit === bit)?.name ?? `bit ${bit}`);
  throw unsupported(at, "incompatible_features", "none but dirty bit and compression type", names.join(", "));
}

const MAX_NAME = 1023;

async function backingFile(file: ByteSource, { backingFileOffset, backingFileSize }: Qcow2HeaderV2): Promise<DiskError> {
  const at = Number(backingFileOffset);
  const whole = backingFileSize <= MAX_NAME && at + backingFileSize <= file.size;
  const name = whole ? `the backing file ${printable(new TextDecoder().decode(await file.read(at, at + backingFileSize)))}` : "a backing file";
  return unsupported(headerV2.fields.backingFileOffset.at, "backing_file_offset", "a disk that needs no other file", name);
}

function unsupported(offset: number, field: string, expected: string, found: string): DiskError {
  return new DiskError("CONTAINER_UNSUPPORTED", "a qcow2 file of a kind that is not read here", {
    offset,
    field,
    expected,
    found,
    hint: "Make one by itself of it, if you trust it: qemu-img convert -O qcow2 FILE OTHER",
  });
}
