// The hash of a PE image that Authenticode signs.
//
// Spec: Microsoft, "Windows Authenticode Portable Executable Signature Format" (Authenticode_PE.docx), "Calculating the PE Image Hash";
// UEFI 2.10, 32.5.1. Left out are the checksum, the certificate table's data directory and the table itself. The specification hashes the
// headers, then the sections by their place in the file, then what is left. Here that is the file from its beginning to its end: an image with
// gaps between them, of which tools make different hashes, is refused.

import { type ByteSource, portableSha256, type Sha256Engine, sliceSource, streamSource } from "@imgkit/bytes";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { CERTIFICATE_ALIGNMENT, DIRECTORY_SECURITY, dataDirectory, optionalHeader } from "./format.ts";
import { type PeImage, readPe } from "./reader.ts";

/**
 * The Authenticode hash of an image: 32 bytes of SHA-256. Signatures change nothing of it.
 * @throws DiskError PE_CORRUPT as `readPe`; PE_UNSUPPORTED when the image has no place for a signature or gaps between its sections.
 */
export async function authenticodeHash(source: ByteSource, engine: Sha256Engine = portableSha256): Promise<Uint8Array> {
  const pe = await readPe(source);
  checkSignable(pe);
  const checksum = pe.at.optional + optionalHeader.fields.CheckSum.at;
  const directory = securityDirectoryAt(pe);
  const end = pe.certificates?.start ?? source.size;
  const hasher = engine.create();
  for (const [from, to] of [
    [0, checksum],
    [checksum + 4, directory],
    [directory + dataDirectory.size, end],
  ] as const) {
    for await (const chunk of streamSource(sliceSource(source, from, to))) hasher.update(chunk);
  }
  // A certificate table begins at a multiple of 8: the zeros before it are part of what is signed.
  hasher.update(new Uint8Array(alignUp(end, CERTIFICATE_ALIGNMENT) - end));
  return hasher.digest();
}

/** Byte offset of the data directory entry that points to the certificate table. */
export function securityDirectoryAt(pe: PeImage): number {
  return pe.at.directories + DIRECTORY_SECURITY * dataDirectory.size;
}

/** @throws DiskError PE_UNSUPPORTED. */
export function checkSignable(pe: PeImage): void {
  const no = (sentence: string, offset: number, expected: string, found: string): DiskError =>
    new DiskError("PE_UNSUPPORTED", sentence, { offset, expected, found });
  if (pe.directories.length <= DIRECTORY_SECURITY) {
    throw no("the image has no place for a signature", pe.at.directories, `at least ${DIRECTORY_SECURITY + 1} data directories`, `${pe.directories.length}`);
  }
  let end = pe.optional.SizeOfHeaders;
  for (const { name, offset, rawSize } of [...pe.sections].filter((s) => s.rawSize > 0).sort((a, b) => a.offset - b.offset)) {
    if (offset !== end) throw no(`a gap before section ${JSON.stringify(name)}, of which tools make different hashes`, end, `${end}`, `${offset}`);
    end = offset + rawSize;
  }
}
