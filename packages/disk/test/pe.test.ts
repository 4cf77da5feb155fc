import { type ByteSource, collect, memorySource, streamSource, toHex } from "@imgkit/bytes";
import { nativeSha256 } from "@imgkit/bytes/node";
import { describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { appendSections } from "../src/pe/append.ts";
import { authenticodeHash } from "../src/pe/authenticode.ts";
import { pkcs7Certificate, readCertificates, withCertificates } from "../src/pe/certificates.ts";
import { peChecksum } from "../src/pe/checksum.ts";
import { dataDirectory, fileHeader, optionalHeader, sectionHeader } from "../src/pe/format.ts";
import { readPe } from "../src/pe/reader.ts";
import { makePe, type StubOptions } from "./pe-helpers.ts";

const all = async (source: ByteSource): Promise<Uint8Array> => (await collect(streamSource(source))).slice();

// Where makePe puts things.
const FILE = 128;
const OPTIONAL = FILE + fileHeader.size;
const SECURITY = OPTIONAL + optionalHeader.size + 4 * dataDirectory.size;
const SECTIONS = OPTIONAL + optionalHeader.size + 16 * dataDirectory.size;

/** An image with numbers of 16 or 32 bits changed. */
function changed(values: readonly (readonly [at: number, bits: 16 | 32, value: number])[], options: StubOptions = {}): ByteSource {
  const bytes = makePe(options);
  const view = new DataView(bytes.buffer);
  for (const [at, bits, value] of values) bits === 16 ? view.setUint16(at, value, true) : view.setUint32(at, value, true);
  return memorySource(bytes);
}

const optional = (field: keyof typeof optionalHeader.fields): number => OPTIONAL + optionalHeader.fields[field].at;
const section = (index: number, field: keyof typeof sectionHeader.fields): number => SECTIONS + index * sectionHeader.size + sectionHeader.fields[field].at;
const file = (field: keyof typeof fileHeader.fields): number => FILE + fileHeader.fields[field].at;

describe("a PE image that cannot be right is refused", () => {
  test.each<[what: string, values: Parameters<typeof changed>[0], message: RegExp]>([
    ["no MZ", [[0, 16, 0x4d5a]], /not a PE image/],
    ["e_lfanew of 0", [[60, 32, 0]], /e_lfanew; expected 64 to \d+, found 0/],
    ["e_lfanew at the end of the file", [[60, 32, makePe().length]], /e_lfanew/],
    ["e_lfanew of 2^32 - 1", [[60, 32, 0xffff_ffff]], /e_lfanew/],
    ["no PE there", [[60, 32, 64]], /not a PE image.*at byte 64/],
    ["97 sections", [[file("NumberOfSections"), 16, 97]], /NumberOfSections; expected at most 96, found 97/],
    ["65535 sections", [[file("NumberOfSections"), 16, 65535]], /NumberOfSections/],
    ["more sections than headers", [[file("NumberOfSections"), 16, 90]], /SizeOfHeaders/],
    ["an optional header of 0 bytes", [[file("SizeOfOptionalHeader"), 16, 0]], /SizeOfOptionalHeader; expected 112/],
    ["an optional header over the end", [[file("SizeOfOptionalHeader"), 16, 0xffff]], /SizeOfOptionalHeader/],
    ["another magic number", [[OPTIONAL, 16, 0x107]], /Magic/],
    ["a 32-bit image", [[OPTIONAL, 16, 0x10b]], /32-bit machine/],
    ["a file alignment of 0", [[optional("FileAlignment"), 32, 0]], /FileAlignment; expected a power of two/],
    ["a file alignment of 3", [[optional("FileAlignment"), 32, 3]], /FileAlignment/],
    ["a section alignment of 0", [[optional("SectionAlignment"), 32, 0]], /SectionAlignment/],
    ["17 data directories", [[optional("NumberOfRvaAndSizes"), 32, 17]], /NumberOfRvaAndSizes; expected at most 16/],
    ["2^32 - 1 data directories", [[optional("NumberOfRvaAndSizes"), 32, 0xffff_ffff]], /NumberOfRvaAndSizes/],
    ["headers larger than the file", [[optional("SizeOfHeaders"), 32, 0xffff_ffff]], /SizeOfHeaders/],
    ["a section past the end of the file", [[section(1, "SizeOfRawData"), 32, 0xffff_fe00]], /"\.sbat" lies outside/],
    ["a section over the headers", [[section(0, "PointerToRawData"), 32, 0]], /"\.text" lies outside of the file or in another/],
    ["two sections of the same bytes", [[section(1, "PointerToRawData"), 32, 1024]], /lies outside of the file or in another section/],
    ["two sections at one address", [[section(1, "VirtualAddress"), 32, 4096]], /over another section/],
    ["a section behind the image", [[section(1, "VirtualSize"), 32, 0xffff_ffff]], /outside of the image/],
    [
      "a certificate table over the end",
      [
        [SECURITY, 32, makePe().length - 8],
        [SECURITY + 4, 32, 16],
      ],
      /not the end of the file/,
    ],
    [
      "a certificate table before the end",
      [
        [SECURITY, 32, 1024],
        [SECURITY + 4, 32, 16],
      ],
      /not the end of the file/,
    ],
    ["a certificate table of 0 bytes", [[SECURITY, 32, makePe().length]], /not the end of the file/],
    [
      "a certificate table in the headers",
      [
        [SECURITY, 32, 0],
        [SECURITY + 4, 32, makePe().length],
      ],
      /not the end of the file/,
    ],
  ])("%s", async (_, values, message) => {
    await expect(readPe(changed(values))).rejects.toMatchObject({ name: "DiskError", message: expect.stringMatching(message) });
  });

  test("headers of more than 1 MiB, which would be read whole", async () => {
    const size = 1 << 20;
    const image = (headers: number): ByteSource => changed([[optional("SizeOfHeaders"), 32, headers]], { sizeOfHeaders: size + 512, firstAddress: 2 * size });
    await expect(readPe(image(size + 512))).rejects.toThrow(/SizeOfHeaders; expected .* to 1048576, found 1049088/);
    await readPe(image(size));
  });

  test("every shorter file", async () => {
    const bytes = makePe();
    for (let size = 0; size < bytes.length; size += size < 600 ? 1 : 37) {
      await expect(readPe(memorySource(bytes.subarray(0, size)))).rejects.toMatchObject({ code: "PE_CORRUPT" });
    }
  });
});

describe("sections to append", () => {
  const one = (name: string, size = 1): Parameters<typeof appendSections>[1] => [{ name, content: memorySource(new Uint8Array(size)), characteristics: 0 }];
  test.each([
    ["an empty name", one(""), /1 to 8 printable/],
    ["a name of nine characters", one(".pcrpkey2"), /1 to 8 printable/],
    ["a name that is not ASCII", one(".é"), /1 to 8 printable/],
    ["a name that is taken", one(".text"), /of that name already/],
    ["no content", one(".x", 0), /would be empty/],
  ])("%s is refused", async (_, sections, message) => {
    await expect(appendSections(memorySource(makePe()), sections)).rejects.toThrow(message);
  });

  test("a signed image, and one with something behind its section table, is refused", async () => {
    const signed = await withCertificates(memorySource(makePe()), [pkcs7Certificate(new Uint8Array(5))]);
    await expect(appendSections(signed, one(".x"))).rejects.toThrow(/image is signed/);
    await expect(appendSections(changed([[SECTIONS + 2 * sectionHeader.size + 8, 32, 1]]), one(".x"))).rejects.toThrow(/behind the image's section table/);
  });
});

describe("peChecksum", () => {
  /** The words one by one, the checksum's own bytes as zeros. */
  function plain(bytes: Uint8Array, field: number): number {
    let sum = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (i < field || i >= field + 4) sum += i % 2 === 0 ? (bytes[i] ?? 0) : (bytes[i] ?? 0) * 256;
      sum = (sum & 0xffff) + (sum >>> 16);
    }
    return sum + bytes.length;
  }

  test.each([
    [1001, 300],
    [1002, 301],
    [4_194_304 + 5, 302],
    [8_400_003, 303],
  ])("of %i bytes with the header at %i it is the sum of all words", async (size, optional) => {
    for (const bytes of [pseudoRandomBytes(size, size), new Uint8Array(size).fill(0xff)]) {
      const at = { file: 0, optional, directories: 0, sections: 0 };
      expect(await peChecksum(memorySource(bytes), { at })).toBe(plain(bytes, optional + optionalHeader.fields.CheckSum.at));
    }
  });
});

describe("certificates", () => {
  const [a, b] = [pkcs7Certificate(pseudoRandomBytes(1, 100)), pkcs7Certificate(pseudoRandomBytes(2, 51))];

  test("what is attached is read back, and neither it nor the checksum changes the hash", async () => {
    for (const tail of [0, 1, 5]) {
      const image = memorySource(makePe({ tail: new Uint8Array(tail) }));
      const hash = await authenticodeHash(image);
      const signed = memorySource(await all(await withCertificates(image, [a, b])));
      expect(await readCertificates(signed)).toEqual([a, b]);
      expect(await authenticodeHash(signed)).toEqual(hash);
      expect(await authenticodeHash(signed, nativeSha256)).toEqual(hash);
      const again = await all(await withCertificates(await withCertificates(signed, []), [a, b]));
      expect(again).toEqual(await all(signed));
    }
  });

  test("every byte but those of the checksum and the table counts in the hash", async () => {
    const bytes = makePe();
    const hash = toHex(await authenticodeHash(memorySource(bytes)));
    const checksum = optional("CheckSum");
    for (let at = 0; at < bytes.length; at += at < 1100 ? 1 : 13) {
      const other = bytes.slice();
      other[at] = (other[at] ?? 0) ^ 1;
      const found = await authenticodeHash(memorySource(other)).then(toHex, () => "refused");
      expect([at, found === hash]).toEqual([at, at >= checksum && at < checksum + 4]);
    }
  });

  test.each<[what: string, at: number, value: number]>([
    ["an entry of 0 bytes", 0, 0],
    ["an entry of its header alone", 0, 8],
    ["an entry over the end of the table", 0, 4096],
    ["a second entry over the end", 112, 65],
  ])("%s is refused", async (_, at, value) => {
    const bytes = await all(await withCertificates(memorySource(makePe()), [a, b]));
    new DataView(bytes.buffer).setUint32(makePe().length + at, value, true);
    await expect(readCertificates(memorySource(bytes))).rejects.toMatchObject({ code: "PE_CORRUPT", message: expect.stringMatching(/dwLength/) });
  });

  test("an image with gaps between its sections, or without a place for a signature, is not hashed", async () => {
    await expect(authenticodeHash(memorySource(makePe({ gap: 512 })))).rejects.toThrow(/gap before section "\.sbat"/);
    await expect(authenticodeHash(memorySource(makePe({ directories: 4 })))).rejects.toThrow(/no place for a signature/);
  });

  test("a table over 1 MiB is refused, whichever way it goes", async () => {
    const image = memorySource(makePe());
    await expect(withCertificates(image, [pkcs7Certificate(new Uint8Array(1 << 20))])).rejects.toMatchObject({ code: "PE_LIMIT" });
    const size = 2 << 20;
    const bytes = makePe({ tail: new Uint8Array(size) });
    const view = new DataView(bytes.buffer);
    view.setUint32(SECURITY, bytes.length - size, true);
    view.setUint32(SECURITY + 4, size, true);
    await expect(readCertificates(memorySource(bytes))).rejects.toMatchObject({ code: "PE_LIMIT" });
  });
});
