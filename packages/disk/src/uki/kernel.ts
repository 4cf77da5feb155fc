// What a kernel image says of itself: its version, as `uname -r` prints it.
//
// Spec: Linux Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header"), Documentation/arch/arm64/booting.rst,
// Documentation/arch/riscv/boot-image-header.rst, drivers/firmware/efi/libstub/zboot-header.S. Elsewhere than on x86 the version stands only in
// the banner that the kernel prints, `Linux version …`, which is looked for.

import { ascii, type ByteSource, type ByteStream, type Struct, sliceSource, streamSource, struct, u16le, u32le } from "@imgkit/bytes";
import { decompress } from "@imgkit/compress";
import { DiskError } from "../errors.ts";

/** The beginning of a bzImage; only the fields that are read here. */
const bzImage: Struct<{ header: string; version: number; kernel_version: number }> = struct("bzImage", 0x210, {
  header: ascii(0x202, 4),
  version: u16le(0x206),
  /** Byte offset of the version's text, less 0x200. */
  kernel_version: u16le(0x20e),
});

/** The beginning of arm64's and riscv64's Image; only the field that is read here. */
const rawImage: Struct<{ magic: string }> = struct("Image", 64, { magic: ascii(0x38, 4) });
const RAW_MAGICS: readonly string[] = ["ARMd", "RSC\u0005"];

/** The beginning of an EFI zboot image, a PE that decompresses the kernel in it. */
const zbootImage: Struct<{ zimg: string; payload_offset: number; payload_size: number; comp_type: string }> = struct("zboot_header", 64, {
  zimg: ascii(4, 4),
  payload_offset: u32le(8),
  payload_size: u32le(12),
  comp_type: ascii(24, 32),
});

/** What zboot calls the compressions that are read here. */
const ZBOOT_READ: readonly string[] = ["gzip", "zstd", "zstd22"];

/** The version's text is one field of a bzImage's line of text, and one word of the banner. */
const RELEASE = /^[0-9]+\.[0-9A-Za-z._+~-]{1,120}$/;
const BANNER = /Linux version ([0-9]+\.[0-9A-Za-z._+~-]{1,120}) \(/;
/** Longer than any banner's beginning that is looked for. */
const BANNER_MAX = 160;
/** No kernel is that large. */
const KERNEL_MAX = 1 << 29;

/**
 * The version of a kernel, `6.1.0-18-amd64`: a bzImage, an Image of arm64 or riscv64, or an EFI zboot image of one with gzip or zstd.
 * `undefined` for any other file, and for one whose version is not found.
 * @throws DiskError KERNEL_CORRUPT for a header that points outside of the file; CompressError for a damaged zboot image.
 */
export async function kernelRelease(kernel: ByteSource): Promise<string | undefined> {
  const head = await kernel.read(0, Math.min(kernel.size, bzImage.size));
  if (head.length < rawImage.size) return undefined;
  if (head.length === bzImage.size && bzImage.decode(head).header === "HdrS") return bzImageRelease(kernel, head);
  const zboot = zbootImage.decode(head);
  if (zboot.zimg === "zimg") return zbootRelease(kernel, zboot);
  if (RAW_MAGICS.includes(rawImage.decode(head).magic)) return banner(streamSource(kernel));
  return undefined;
}

async function bzImageRelease(kernel: ByteSource, head: Uint8Array): Promise<string | undefined> {
  const { kernel_version } = bzImage.decode(head);
  if (kernel_version === 0) return undefined;
  const start = kernel_version + 0x200;
  if (start >= kernel.size) {
    const offset = bzImage.fields.kernel_version.at;
    throw new DiskError("KERNEL_CORRUPT", "the kernel's version is not in the file", {
      offset,
      field: "kernel_version",
      expected: `less than ${kernel.size}`,
      found: `${start}`,
    });
  }
  const text = ascii(0, 128);
  const bytes = new Uint8Array(128);
  bytes.set(await kernel.read(start, Math.min(kernel.size, start + 128)));
  const word = text.get(new DataView(bytes.buffer)).split(" ")[0] ?? "";
  return RELEASE.test(word) ? word : undefined;
}

async function zbootRelease(
  kernel: ByteSource,
  { payload_offset, payload_size, comp_type }: { payload_offset: number; payload_size: number; comp_type: string },
): Promise<string | undefined> {
  if (!ZBOOT_READ.includes(comp_type)) return undefined;
  const end = payload_offset + payload_size;
  if (end > kernel.size) {
    const offset = zbootImage.fields.payload_size.at;
    throw new DiskError("KERNEL_CORRUPT", "the compressed kernel is not in the file", {
      offset,
      field: "payload_size",
      expected: `an end up to ${kernel.size}`,
      found: `${end}`,
    });
  }
  return banner(decompress(streamSource(sliceSource(kernel, payload_offset, end)), { limit: KERNEL_MAX }));
}

async function banner(stream: ByteStream): Promise<string | undefined> {
  const latin1 = new TextDecoder("latin1");
  let rest = "";
  for await (const chunk of stream) {
    const text = rest + latin1.decode(chunk);
    const found = BANNER.exec(text);
    if (found !== null) return found[1];
    rest = text.slice(-BANNER_MAX);
  }
  return undefined;
}
