import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeBase64, encodeBase64 } from "../src/index.ts";

describe("base64", () => {
  test("is what Node writes, and comes back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = encodeBase64(bytes);
        expect(text).toBe(Buffer.from(bytes).toString("base64"));
        expect(decodeBase64(text)).toEqual(bytes);
      }),
    );
  });

  test("is Node's where it is long", () => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) ^ (i >> 8));
    expect(encodeBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
  });

  test.each(["A", "AA", "AAA", "AA=", "A===", "AAAA=", "====", "AA==AA==", "AA-_", "AA A", "AAAA\n", "AB==", "AAB=", "é==="])("%j is none", (text) => {
    expect(() => decodeBase64(text)).toThrow(expect.objectContaining({ code: "BAD_BASE64" }));
  });
});
