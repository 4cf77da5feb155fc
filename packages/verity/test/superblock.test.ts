import { memorySource, toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeSuperblock, encodeSuperblock, type HashName, hashNames, readSuperblock, type Superblock, superblockStruct, VerityError } from "../src/index.ts";
import { superblockPadding } from "../src/superblock.ts";

const sample: Superblock = {
  uuid: "00112233-4455-6677-8899-aabbccddeeff",
  hash: "sha256",
  hashType: 1,
  dataBlockSize: 4096,
  hashBlockSize: 1024,
  dataBlocks: 0x1_0000_0001,
  salt: Uint8Array.of(0xa5, 0x5a),
};

const arbitrary: fc.Arbitrary<Superblock> = fc.record({
  uuid: fc.uuid(),
  hash: fc.constantFrom<HashName>(...hashNames),
  hashType: fc.constantFrom<0 | 1>(0, 1),
  dataBlockSize: fc.integer({ min: 9, max: 19 }).map((n) => 2 ** n),
  hashBlockSize: fc.integer({ min: 9, max: 19 }).map((n) => 2 ** n),
  dataBlocks: fc.maxSafeNat().filter((n) => n > 0),
  salt: fc.uint8Array({ maxLength: 256 }),
});

function codeOf(job: () => unknown): string {
  try {
    job();
  } catch (error) {
    if (error instanceof VerityError) return `${error.code} ${error.facts.field ?? ""}`.trim();
    throw error;
  }
  return "no error";
}

test("every superblock decodes to what was encoded, with nothing in its padding", () => {
  fc.assert(
    fc.property(arbitrary, (superblock) => {
      const bytes = encodeSuperblock(superblock);
      expect(decodeSuperblock(bytes)).toEqual(superblock);
      expect(encodeSuperblock(decodeSuperblock(bytes))).toEqual(bytes);
      expect(superblockPadding(bytes)).toBeUndefined();
    }),
  );
});

test("the bytes of a superblock stand where cryptsetup has them", () => {
  const hex = toHex(encodeSuperblock(sample));
  const expected =
    "7665726974790000" + // "verity\0\0"
    "01000000" +
    "01000000" +
    "00112233445566778899aabbccddeeff" + // the UUID in RFC byte order, not GPT's
    `${toHex(new TextEncoder().encode("sha256"))}${"00".repeat(26)}` +
    "00100000" +
    "00040000" +
    "0100000001000000" +
    "0200" +
    "00".repeat(6) +
    `a55a${"00".repeat(254)}` +
    "00".repeat(168);
  expect(hex).toBe(expected);
});

describe("a field at an extreme is refused by name", () => {
  const cases: readonly (readonly [field: keyof typeof superblockStruct.fields, bytes: readonly number[], code: string])[] = [
    ["signature", [0x56], "NOT_VERITY"],
    ["signature", [0x76, 0x65, 0x72, 0x69, 0x74, 0x79, 0, 1], "NOT_VERITY"],
    ["version", [0, 0, 0, 0], "BAD_SUPERBLOCK version"],
    ["version", [2, 0, 0, 0], "BAD_SUPERBLOCK version"],
    ["version", [0xff, 0xff, 0xff, 0xff], "BAD_SUPERBLOCK version"],
    ["hashType", [2, 0, 0, 0], "BAD_SUPERBLOCK hashType"],
    ["hashType", [0xff, 0xff, 0xff, 0xff], "BAD_SUPERBLOCK hashType"],
    ["algorithm", [0], "BAD_SUPERBLOCK algorithm"],
    ["algorithm", [0x6d, 0x64, 0x35, 0], "BAD_SUPERBLOCK algorithm"],
    ["algorithm", new Array<number>(32).fill(0xff), "BAD_SUPERBLOCK algorithm"],
    ["dataBlockSize", [0, 0, 0, 0], "BAD_SUPERBLOCK dataBlockSize"],
    ["dataBlockSize", [0, 1, 0, 0], "BAD_SUPERBLOCK dataBlockSize"],
    ["dataBlockSize", [0, 0, 0x10, 0], "BAD_SUPERBLOCK dataBlockSize"],
    ["dataBlockSize", [0, 0x18, 0, 0], "BAD_SUPERBLOCK dataBlockSize"],
    ["dataBlockSize", [0, 0, 0, 0x80], "BAD_SUPERBLOCK dataBlockSize"],
    ["hashBlockSize", [0xff, 0xff, 0xff, 0xff], "BAD_SUPERBLOCK hashBlockSize"],
    ["hashBlockSize", [0, 0, 0, 0], "BAD_SUPERBLOCK hashBlockSize"],
    ["dataBlocks", [0, 0, 0, 0, 0, 0, 0, 0], "BAD_SUPERBLOCK dataBlocks"],
    ["dataBlocks", [0, 0, 0, 0, 0, 0, 0x20, 0], "BAD_SUPERBLOCK dataBlocks"],
    ["dataBlocks", new Array<number>(8).fill(0xff), "BAD_SUPERBLOCK dataBlocks"],
    ["saltSize", [1, 1], "BAD_SUPERBLOCK saltSize"],
    ["saltSize", [0xff, 0xff], "BAD_SUPERBLOCK saltSize"],
  ];
  test.each(cases)("%s = %j", (field, bytes, code) => {
    const encoded = encodeSuperblock(sample);
    encoded.set(bytes, superblockStruct.fields[field].at);
    expect(codeOf(() => decodeSuperblock(encoded))).toBe(code);
  });
});

test("values that the format cannot hold are refused when written", () => {
  const write = (change: Partial<Superblock>) => codeOf(() => encodeSuperblock({ ...sample, ...change }));
  expect(write({ hash: "md5" as HashName })).toBe("BAD_ALGORITHM");
  expect(write({ hashType: 2 as 1 })).toBe("BAD_HASH_TYPE hashType");
  expect(write({ dataBlockSize: 1 << 20 })).toBe("BAD_BLOCK_SIZE dataBlockSize");
  expect(write({ hashBlockSize: 4097 })).toBe("BAD_BLOCK_SIZE hashBlockSize");
  expect(write({ salt: new Uint8Array(257) })).toBe("BAD_SALT salt");
  expect(write({ uuid: "4" })).toBe("BAD_UUID uuid");
  expect(write({ dataBlocks: 0 })).toBe("BAD_DATA_SIZE dataBlocks");
  expect(write({ dataBlocks: 2 ** 53 })).toBe("BAD_DATA_SIZE dataBlocks");
  expect(write({ dataBlocks: 1.5 })).toBe("BAD_DATA_SIZE dataBlocks");
});

test("a stray byte in each run of padding is found", () => {
  const { fields } = superblockStruct;
  for (const at of [
    fields.algorithm.at + 10,
    fields.algorithm.at + 31,
    fields.padding1.at,
    fields.salt.at + 2,
    fields.salt.at + 255,
    fields.padding2.at,
    511,
  ]) {
    const bytes = encodeSuperblock(sample);
    bytes[at] = 1;
    expect(superblockPadding(bytes)).toBe(at);
    // veritysetup does not look there, and neither does the decoder.
    expect(decodeSuperblock(bytes)).toEqual(sample);
  }
});

test("a hash device that ends before its superblock, or an odd offset, is refused", async () => {
  const bytes = encodeSuperblock(sample);
  await expect(readSuperblock(memorySource(bytes.subarray(0, 511)))).rejects.toMatchObject({ code: "NOT_VERITY" });
  await expect(readSuperblock(memorySource(bytes), 512)).rejects.toMatchObject({ code: "NOT_VERITY" });
  await expect(readSuperblock(memorySource(bytes), 2 ** 52)).rejects.toMatchObject({ code: "NOT_VERITY" });
  for (const offset of [1, -512, 513, Number.NaN, 2 ** 53]) {
    await expect(readSuperblock(memorySource(bytes), offset)).rejects.toMatchObject({ code: "BAD_HASH_OFFSET" });
  }
  expect(await readSuperblock(memorySource(Uint8Array.from([...new Uint8Array(512), ...bytes])), 512)).toEqual(sample);
});

test("any 512 bytes decode or are refused with a typed error", () => {
  const valid = encodeSuperblock(sample);
  const mutated = fc.array(fc.tuple(fc.nat(511), fc.nat(255)), { maxLength: 6 }).map((changes) => {
    const bytes = valid.slice();
    for (const [at, value] of changes) bytes[at] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 600 })), (bytes) => {
      expect(codeOf(() => decodeSuperblock(bytes))).toMatch(/^(no error|NOT_VERITY|BAD_SUPERBLOCK \w+)$/);
    }),
    { numRuns: 20_000 },
  );
});
