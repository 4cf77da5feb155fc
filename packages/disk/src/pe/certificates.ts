// The attribute certificate table of a PE image: its signatures, at the end of the file.
//
// Spec: Microsoft, "PE Format", "The Attribute Certificate Table".

import { type ByteSource, concatSource, memorySource, sliceSource, zeroSource } from "@imgkit/bytes";
import { alignUp } from "../erofs/format.ts";
import { DiskError } from "../errors.ts";
import { checkSignable, securityDirectoryAt } from "./authenticode.ts";
import { peChecksum } from "./checksum.ts";
import { CERT_REVISION_2_0, CERT_TYPE_PKCS_SIGNED_DATA, CERTIFICATE_ALIGNMENT, dataDirectory, optionalHeader, winCertificate } from "./format.ts";
import { readPe } from "./reader.ts";

/** One entry of the table. */
export interface PeCertificate {
  /** `WIN_CERT_REVISION_2_0` is 0x0200. */
  readonly revision: number;
  /** `WIN_CERT_TYPE_PKCS_SIGNED_DATA`, Authenticode, is 2. */
  readonly type: number;
  /** Zeros that pad it may be part of it: writers differ. */
  readonly bytes: Uint8Array;
}

/** Far more than a table of many signatures takes: it is read whole. */
const TABLE_MAX = 1 << 20;

/**
 * The signatures of an image, in the table's order.
 * @throws DiskError PE_CORRUPT as `readPe`, and when entries do not fill the table; PE_LIMIT for a table over 1 MiB.
 */
export async function readCertificates(source: ByteSource): Promise<readonly PeCertificate[]> {
  const { certificates } = await readPe(source);
  if (certificates === undefined) return [];
  const { start, end } = certificates;
  if (end - start > TABLE_MAX) throw tooLarge(end - start);
  const table = await source.read(start, end);
  const found: PeCertificate[] = [];
  for (let at = 0; at < table.length; ) {
    const room = table.length - at;
    const { dwLength, wRevision, wCertificateType } =
      room < winCertificate.size ? { dwLength: 0, wRevision: 0, wCertificateType: 0 } : winCertificate.decode(table, at);
    if (dwLength <= winCertificate.size || dwLength > room) {
      throw new DiskError("PE_CORRUPT", "a certificate does not fit into the certificate table", {
        offset: start + at,
        field: "dwLength",
        expected: `${winCertificate.size + 1} to ${room}`,
        found: `${dwLength}`,
      });
    }
    found.push({ revision: wRevision, type: wCertificateType, bytes: table.slice(at + winCertificate.size, at + dwLength) });
    at += alignUp(dwLength, CERTIFICATE_ALIGNMENT);
  }
  return found;
}

function tooLarge(size: number): DiskError {
  return new DiskError("PE_LIMIT", "a certificate table that large is no signature", { expected: `at most ${TABLE_MAX} bytes`, found: `${size}` });
}

/** A PKCS#7 SignedData, DER, as an entry of the table. */
export function pkcs7Certificate(bytes: Uint8Array): PeCertificate {
  return { revision: CERT_REVISION_2_0, type: CERT_TYPE_PKCS_SIGNED_DATA, bytes };
}

/**
 * The image with these signatures instead of those that it has; with none of them it is unsigned. Its size is padded to a multiple of 8
 * bytes, and its checksum is computed. Whether they sign this image is not looked at: `authenticodeHash` tells what they must sign.
 * @throws DiskError PE_CORRUPT as `readPe`; PE_UNSUPPORTED as `authenticodeHash`; PE_LIMIT for more than 1 MiB or an image over 4 GiB.
 */
export async function withCertificates(source: ByteSource, certificates: readonly PeCertificate[]): Promise<ByteSource> {
  const pe = await readPe(source);
  checkSignable(pe);
  const bodyEnd = pe.certificates?.start ?? source.size;
  const start = alignUp(bodyEnd, CERTIFICATE_ALIGNMENT);
  const table = encodeTable(certificates);
  if (start + table.length > 2 ** 32 - 1)
    throw new DiskError("PE_LIMIT", "the image is too large to be signed", { expected: "less than 4 GiB", found: `${start}` });
  const headersEnd = pe.optional.SizeOfHeaders;
  const headers = (await source.read(0, headersEnd)).slice();
  dataDirectory.encodeInto(
    headers,
    securityDirectoryAt(pe),
    table.length === 0 ? { VirtualAddress: 0, Size: 0 } : { VirtualAddress: start, Size: table.length },
  );
  const image = concatSource([memorySource(headers), sliceSource(source, headersEnd, bodyEnd), zeroSource(start - bodyEnd), memorySource(table)]);
  // The headers are read where they are: what is written here is in the image at once.
  optionalHeader.encodeInto(headers, pe.at.optional, { ...pe.optional, CheckSum: await peChecksum(image, pe) });
  return image;
}

function encodeTable(certificates: readonly PeCertificate[]): Uint8Array {
  const entries = certificates.map(({ revision, type, bytes }) => {
    const size = winCertificate.size + bytes.length;
    const entry = new Uint8Array(alignUp(size, CERTIFICATE_ALIGNMENT));
    winCertificate.encodeInto(entry, 0, { dwLength: size, wRevision: revision, wCertificateType: type });
    entry.set(bytes, winCertificate.size);
    return entry;
  });
  const size = entries.reduce((sum, entry) => sum + entry.length, 0);
  if (size > TABLE_MAX) throw tooLarge(size);
  const table = new Uint8Array(size);
  let at = 0;
  for (const entry of entries) {
    table.set(entry, at);
    at += entry.length;
  }
  return table;
}
