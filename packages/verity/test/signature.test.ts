import { memorySource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeSignaturePartition, type RootHashSignature, readSignaturePartition, VerityError } from "../src/index.ts";

const sample: RootHashSignature = {
  rootHash: Uint8Array.from({ length: 32 }, (_, i) => i),
  certificateFingerprint: new Uint8Array(32).fill(0xab),
  signature: Uint8Array.of(0x30, 0x03, 0xff, 0xee, 0xdd),
};

const arbitrary: fc.Arbitrary<RootHashSignature> = fc.record(
  {
    rootHash: fc.uint8Array({ minLength: 1, maxLength: 64 }),
    signature: fc.uint8Array({ minLength: 1, maxLength: 3000 }),
    certificateFingerprint: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  },
  { requiredKeys: ["rootHash", "signature"] },
);

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const read = (bytes: Uint8Array | string): Promise<RootHashSignature> => readSignaturePartition(memorySource(typeof bytes === "string" ? utf8(bytes) : bytes));
const text = `{"rootHash":"${"00".repeat(32)}","signature":"MAA="}`;

test("what is written is read back, and is NUL behind one line of JSON", async () => {
  await fc.assert(
    fc.asyncProperty(arbitrary, fc.integer({ min: 1, max: 4 }), async (signature, blocks) => {
      const bytes = encodeSignaturePartition(signature, 4096 * blocks + 4096);
      expect(bytes.length).toBe(4096 * blocks + 4096);
      expect(await read(bytes)).toEqual(signature);
    }),
  );
});

test("the text is systemd-repart's: its fields in its order, no white space", () => {
  const bytes = encodeSignaturePartition(sample);
  expect(bytes.length).toBe(16384);
  expect(new TextDecoder().decode(bytes).replaceAll("\0", "")).toBe(
    `{"rootHash":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","certificateFingerprint":"${"ab".repeat(32)}","signature":"MAP/7t0="}`,
  );
});

test("a signature that takes more than 16 KiB gets the next multiple of 4096, and one that does not fit is refused", () => {
  const large = { ...sample, signature: new Uint8Array(20_000) };
  expect(encodeSignaturePartition(large).length).toBe(28672);
  expect(() => encodeSignaturePartition(large, 16384)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
  expect(() => encodeSignaturePartition(sample, 5 << 20)).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
});

test.each([
  ["no root hash", { ...sample, rootHash: new Uint8Array(0) }],
  ["no signature", { ...sample, signature: new Uint8Array(0) }],
  ["a fingerprint that is no SHA-256", { ...sample, certificateFingerprint: new Uint8Array(20) }],
])("%s is not written", (_name, signature) => {
  expect(() => encodeSignaturePartition(signature)).toThrow(expect.objectContaining({ code: "BAD_SIGNATURE" }));
});

describe("what systemd reads is read", () => {
  test.each([
    ["without padding", text],
    ["padded", `${text}\0\0\0`],
    ["with white space, as jq prints it", JSON.stringify(JSON.parse(text), null, 2)],
    ["with fields of a later revision, nested ones too", text.replace("{", '{"more":{"rootHash":[{"rootHash":1}]},"x":"\\"{\\\\",')],
    ["with its field names escaped", text.replace("rootHash", "root\\u0048ash")],
  ])("%s", async (_name, json) => {
    expect(await read(json)).toEqual({ rootHash: new Uint8Array(32), signature: Uint8Array.of(0x30, 0) });
  });
});

describe("what two readers could take for different things is refused", () => {
  test.each([
    ["nothing", ""],
    ["nothing but zeros", "\0".repeat(4096)],
    ["data behind the NUL", `${text}\0\0x`],
    ["a second object behind the NUL", `${text}\0${text}`],
    ["a NUL before the JSON", `\0${text}`],
    ["no JSON", "hello"],
    ["JSON cut short", text.slice(0, -1)],
    ["two objects", text + text],
    ["a list", `[${text}]`],
    ["null", "null"],
    ["a byte order mark", `\ufeff${text}`],
    ["a field twice", text.replace("}", `,"rootHash":"${"11".repeat(32)}"}`)],
    ["a field twice, once escaped", text.replace("}", `,"root\\u0048ash":"${"11".repeat(32)}"}`)],
    ["an unknown field twice", text.replace("{", '{"a":1,"a":2,')],
    ["no root hash", '{"signature":"MAA="}'],
    ["a root hash in __proto__", '{"__proto__":{"rootHash":"00"},"signature":"MAA="}'],
    ["an empty root hash", text.replace("00".repeat(32), "")],
    ["half a byte", text.replace("0000", "000")],
    ["uppercase, which is not what is signed", text.replace("0000", "00AA")],
    ["a root hash that is a number", '{"rootHash":0,"signature":"MAA="}'],
    ["a root hash of a megabyte", text.replace("0000", "00".repeat(1 << 20))],
    ["no signature", '{"rootHash":"00"}'],
    ["an empty signature", text.replace("MAA=", "")],
    ["base64 without padding", text.replace("MAA=", "MAA")],
    ["base64 with bits left over", text.replace("MAA=", "MAB=")],
    ["base64 with a line break", text.replace("MAA=", "MAA=\\n")],
    ["base64url", text.replace("MAA=", "MA-_")],
    ["a fingerprint of SHA-1", text.replace("{", `{"certificateFingerprint":"${"00".repeat(20)}",`)],
    ["a fingerprint with colons", text.replace("{", `{"certificateFingerprint":"${"00:".repeat(32)}",`)],
  ])("%s", async (_name, json) => {
    await expect(read(json)).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
  });

  test("bytes that are no UTF-8", async () => {
    await expect(read(Uint8Array.of(...utf8(text.slice(0, 20)), 0xff, ...utf8(text.slice(20))))).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
  });

  test("more than systemd reads, before it is read", async () => {
    const endless = { size: 2 ** 40, read: () => Promise.reject(new Error("it was read")) };
    await expect(readSignaturePartition(endless)).rejects.toMatchObject({ code: "TOO_LARGE" });
  });

  test("four megabytes of brackets, names or backslashes, without a hang", async () => {
    const room = (4 << 20) - 100;
    for (const body of ["[".repeat(room), `{"a":${"[".repeat(room)}`, `{"${"\\n".repeat(room / 2)}":1}`, `{${'"":1,'.repeat(room / 5)}"":1}`]) {
      await expect(read(body)).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
    }
  });
});

test("any bytes, and any change of a good partition, are read or refused by a typed error of one line", async () => {
  const good = encodeSignaturePartition(sample, 4096);
  const changed = fc
    .array(fc.tuple(fc.nat(300), fc.oneof(fc.nat(255), fc.constantFrom(...utf8('"{}[]:,\\0')))), { minLength: 1, maxLength: 4 })
    .map((changes) => {
      const bytes = good.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
  const fragments = fc.array(fc.constantFrom("{", "}", '"rootHash"', '"signature"', ":", ",", '"00"', '"MAA="', "\0", "\\", '"', "[", "]", " ", "1"), {
    maxLength: 14,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        changed,
        fc.uint8Array({ maxLength: 200 }),
        fragments.map((parts) => utf8(parts.join(""))),
      ),
      async (bytes) => {
        try {
          const found = await read(bytes);
          // What was taken says the same when it is written anew.
          expect(await read(encodeSignaturePartition(found))).toEqual(found);
        } catch (error) {
          if (!(error instanceof VerityError)) throw error;
          expect(error.code).toBe("BAD_SIGNATURE");
          expect(error.message).not.toMatch(/\n/);
        }
      },
    ),
    { numRuns: 500 },
  );
});
