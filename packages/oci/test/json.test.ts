import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { type JsonInput, OciError, parseJson, writeJson } from "../src/index.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function refusal(bytes: Uint8Array, options: Parameters<typeof parseJson>[1] = {}): OciError {
  try {
    parseJson(bytes, options);
  } catch (error) {
    if (error instanceof OciError) return error;
    throw error;
  }
  throw new Error("it was read");
}

describe("what two readers could read differently is refused, with the byte", () => {
  const table: readonly [claim: string, input: string | number[], code: string, offset: number][] = [
    ["a key twice", '{"a":1,"a":2}', "JSON_DUPLICATE_KEY", 7],
    ["a key twice, once escaped", '{"a":1,"\\u0061":2}', "JSON_DUPLICATE_KEY", 7],
    ["__proto__ twice", '{"__proto__":1,"__proto__":2}', "JSON_DUPLICATE_KEY", 15],
    ["a key twice in an inner object", '[{"b":{"k":1,"k":1}}]', "JSON_DUPLICATE_KEY", 13],
    ["a byte order mark", [0xef, 0xbb, 0xbf, 0x7b, 0x7d], "JSON_ENCODING", 0],
    ["invalid UTF-8", [0x22, 0x61, 0xff, 0x22], "JSON_ENCODING", 1],
    ["an overlong sequence", [0x22, 0xc0, 0xaf, 0x22], "JSON_ENCODING", 1],
    ["a surrogate in UTF-8", [0x22, 0xed, 0xa0, 0x80, 0x22], "JSON_ENCODING", 1],
    ["half of a surrogate pair", '["\\ud800"]', "JSON_ENCODING", 1],
    ["a pair in the wrong order", '"\\udc00\\ud800"', "JSON_ENCODING", 0],
    ["2^53", "9007199254740992", "JSON_NUMBER", 0],
    ["an integer with an exponent", "[1e3]", "JSON_NUMBER", 1],
    ["an integer with a fraction", "[1.0]", "JSON_NUMBER", 1],
    ["minus zero", "-0", "JSON_NUMBER", 0],
    ["a number beyond a double", "1e999", "JSON_NUMBER", 0],
    ["a leading zero", "01", "JSON_SYNTAX", 0],
    ["a leading plus", "+1", "JSON_SYNTAX", 0],
    ["hexadecimal", "0x10", "JSON_SYNTAX", 0],
    ["NaN", "NaN", "JSON_SYNTAX", 0],
    ["trailing data", "{}{}", "JSON_SYNTAX", 2],
    ["a trailing NUL", "{}\0", "JSON_SYNTAX", 2],
    ["a trailing comma in a list", "[1,]", "JSON_SYNTAX", 3],
    ["a trailing comma in an object", '{"a":1,}', "JSON_SYNTAX", 7],
    ["a comment", "{}//", "JSON_SYNTAX", 2],
    ["single quotes", "{'a':1}", "JSON_SYNTAX", 1],
    ["no document", "", "JSON_SYNTAX", 0],
    ["only white space", " \n", "JSON_SYNTAX", 2],
    ["an open object", '{"a"', "JSON_SYNTAX", 4],
    ["an open list", "[1", "JSON_SYNTAX", 2],
    ["an open string", '"abc', "JSON_SYNTAX", 4],
    ["a tab in a string", '"a\tb"', "JSON_SYNTAX", 2],
    ["an unknown escape", '"\\x41"', "JSON_SYNTAX", 1],
    ["a short escape", '"\\u12"', "JSON_SYNTAX", 1],
    ["a form feed as white space", "\f1", "JSON_SYNTAX", 0],
    ["a no-break space as white space", "\u00a01", "JSON_SYNTAX", 0],
  ];
  test.each(table)("%s", (_claim, input, code, offset) => {
    const error = refusal(typeof input === "string" ? utf8(input) : Uint8Array.from(input));
    expect([error.code, error.facts.offset]).toEqual([code, offset]);
    expect(error.message).not.toContain("\n");
  });
});

test("a document of 4 MiB is read and one byte more is refused", () => {
  const bytes = utf8(`"${"a".repeat((4 << 20) - 2)}"`);
  expect(parseJson(bytes)).toHaveLength((4 << 20) - 2);
  expect(refusal(utf8(`${new TextDecoder().decode(bytes)} `)).code).toBe("JSON_LIMIT");
});

test("64 levels are read and 65 are refused", () => {
  const nested = (depth: number): Uint8Array => utf8("[".repeat(depth) + "]".repeat(depth));
  expect(parseJson(nested(64))).toBeInstanceOf(Array);
  expect(refusal(nested(65)).code).toBe("JSON_LIMIT");
  expect(refusal(nested(1_000_000)).code).toBe("JSON_LIMIT");
});

test("a key __proto__ is a key like any other", () => {
  const value = parseJson(utf8('{"__proto__":{"polluted":1}}')) as Record<string, unknown>;
  expect(Object.keys(value)).toEqual(["__proto__"]);
  expect((value as { polluted?: number }).polluted).toBeUndefined();
});

test("what is written holds no white space, keys in the order of their bytes, and only the escapes that are needed", () => {
  const value = { b: [true, null, -5], a: 'q"\\/\u007f\u2028é\u{1f600}\n\u0001', "\u{1f600}": 1, "\uffee": 2, A: {}, gone: undefined };
  expect(new TextDecoder().decode(writeJson(value))).toBe(
    '{"A":{},"a":"q\\"\\\\/\u007f\u2028é\u{1f600}\\n\\u0001","b":[true,null,-5],"\uffee":2,"\u{1f600}":1}',
  );
});

test.each([[1.5], [Number.NaN], [2 ** 53], [-0], [Number.POSITIVE_INFINITY]])("the number %s is not written", (value) => {
  expect(() => writeJson([value])).toThrow(expect.objectContaining({ code: "JSON_NUMBER" }));
});

test.each([[["\ud800"]], [{ "\udc80": 1 }]])("text that is no UTF-8 is not written: %j", (value: JsonInput) => {
  expect(() => writeJson(value)).toThrow(expect.objectContaining({ code: "JSON_ENCODING" }));
});

const text = fc.string({ unit: "binary" });
const value = fc.letrec<{ node: JsonInput }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small" },
    fc.boolean(),
    fc.constant(null),
    fc.maxSafeInteger().filter((n) => !Object.is(n, -0)),
    text,
    fc.array(tie("node")),
    fc.dictionary(text, tie("node"), { noNullPrototype: false }),
  ),
})).node;

test("what is written is read back as it was, by us and by JSON.parse", () => {
  fc.assert(
    fc.property(value, (given) => {
      const bytes = writeJson(given);
      expect(parseJson(bytes)).toEqual(given);
      expect(JSON.parse(new TextDecoder().decode(bytes))).toEqual(given);
      expect(writeJson(parseJson(bytes) as JsonInput)).toEqual(bytes);
    }),
    { numRuns: 500 },
  );
});

test("damaged documents: what is read is what JSON.parse reads, and everything else is a typed error (4,000 cases)", () => {
  const seeds = ['{"a":[1,-2,3.5,"x\\u00e9"],"b":{"c":null,"d":true}}', '[{"size":12,"digest":"sha256:00"},{}]', '{"é":"\\\\\\"","":[[],[[]]]}'].map(utf8);
  const damaged = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(60), fc.nat(2), fc.nat(255)), { minLength: 1, maxLength: 4 }))
    .map(([seed, edits]) => {
      const bytes = [...seed];
      for (const [at, kind, byte] of edits) bytes.splice(at % (bytes.length + 1), kind === 0 ? 0 : 1, ...(kind === 2 ? [] : [byte]));
      return Uint8Array.from(bytes);
    });
  fc.assert(
    fc.property(damaged, (bytes) => {
      let ours: unknown;
      try {
        ours = parseJson(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(OciError);
        return;
      }
      expect(ours).toEqual(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    }),
    { numRuns: 4000, seed: 1 },
  );
});

const sample: JsonInput = { z: 1, a: { é: 'ü\n\t\u0001"\\/', "\u{10000}": [], "\uffff": {} }, B: [1, { y: null, x: false }] };

oracle("jq")("jq -cjS writes the same bytes", () => {
  const bytes = writeJson(sample);
  expect(new Uint8Array(execFileSync("jq", ["-cjS", "."], { input: bytes }))).toEqual(bytes);
});

oracle("python3")("Python's json.dumps with sorted keys writes the same bytes", () => {
  const bytes = writeJson(sample);
  const script =
    "import json,sys; sys.stdout.buffer.write(json.dumps(json.load(sys.stdin.buffer),sort_keys=True,separators=(',',':'),ensure_ascii=False).encode())";
  expect(new Uint8Array(execFileSync("python3", ["-c", script], { input: bytes }))).toEqual(bytes);
});
