import { compareBytes, decodeName, encodeName } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkPath, comparePaths, isNameText } from "../src/path.ts";

/** The order of `tar --sort=name`, said plainly: folder by folder, each name by its bytes. */
function naive(a: string, b: string): number {
  const left = a === "" ? [] : a.split("/");
  const right = b === "" ? [] : b.split("/");
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const order = compareBytes(encodeName(left[i] as string), encodeName(right[i] as string));
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

// Few characters, so that paths share beginnings: around the slash, and on both sides of the surrogates, where UTF-16 and UTF-8 orders differ.
const unit = fc.constantFrom("a", "b", "-", ".", "0", " ", "\u007f", "é", "\ud7ff", "\ue000", "\uffff", "🗜", "\u{10ffff}", "\udc80", "\udcff", "\udce2");
const name = fc
  .string({ unit, minLength: 1, maxLength: 5 })
  .map((text) => decodeName(encodeName(text)))
  .filter((text) => text !== "." && text !== "..");
const path = fc.array(name, { maxLength: 4 }).map((names) => names.join("/"));

test("any two paths are ordered as their names' bytes are, folder by folder", () => {
  fc.assert(
    fc.property(path, path, (a, b) => {
      expect(Math.sign(comparePaths(a, b))).toBe(Math.sign(naive(a, b)));
    }),
    { numRuns: 20_000 },
  );
});

test("the order of any paths is total: sorting finds one sequence whatever the start", () => {
  fc.assert(
    fc.property(fc.uniqueArray(path, { maxLength: 12 }), (paths) => {
      const sorted = [...paths].sort(comparePaths);
      expect([...paths].reverse().sort(comparePaths)).toEqual(sorted);
      for (let i = 1; i < sorted.length; i++) expect(comparePaths(sorted[i - 1] as string, sorted[i] as string)).toBeLessThan(0);
    }),
  );
});

test("a folder comes before what is in it, and that before the folder's neighbours", () => {
  const paths = ["", "A", "a", "a/b", "a/b/c", "a/c", "a ", "a-", "a.b", "a0", "ab", "é", "\ue000", "🗜", "\udcff"];
  expect([...paths].sort(() => 1).sort(comparePaths)).toEqual(paths);
});

describe("a path that a tree cannot hold is refused", () => {
  const table: [string, string, string][] = [
    ["a slash at the start", "/a", `components that are not empty, "." or ".."`],
    ["a slash at the end", "a/", `components that are not empty, "." or ".."`],
    ["two slashes", "a//b", `components that are not empty, "." or ".."`],
    ["a dot", "a/./b", `components that are not empty, "." or ".."`],
    ["two dots", "a/../b", `components that are not empty, "." or ".."`],
    ["a NUL", "a\0b", "no NUL byte"],
    ["a name of 256 bytes", "n".repeat(256), "components of at most 255 bytes"],
    ["a name of 128 letters and 256 bytes", "é".repeat(128), "components of at most 255 bytes"],
    ["a path of 4096 bytes", `${"abc/".repeat(1023)}abcd`, "at most 4095 bytes"],
    ["a lone high surrogate", "a\ud83d", "the text that its bytes decode to"],
    ["a low surrogate that stands for no byte", "\udd00", "the text that its bytes decode to"],
    ["a low surrogate that stands for an ASCII letter", "\udc41", "the text that its bytes decode to"],
    ["two bytes that are UTF-8 together", "\udcc3\udca9", "the text that its bytes decode to"],
  ];
  test.each(table)("%s", (_, bad, expected) => {
    expect(() => checkPath(bad)).toThrow(`not a path that a tree can hold (expected ${expected})`);
    expect(() => checkPath(bad)).toThrow(expect.objectContaining({ code: "BAD_PATH" }));
  });

  test("at the limits, and with names that only look like others, it is not", () => {
    for (const good of ["", "n".repeat(255), `${"abc/".repeat(1023)}abc`, "...", "..a", ".a", "a..", "C:", "a\\b", "\udcff", "🗜"]) checkPath(good);
  });
});

test("a text is a name's text exactly when its bytes decode to it", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "é", "🗜", "\ud800", "\udbff", "\udc00", "\udc7f", "\udc80", "\udcc3", "\udca9", "\udcff", "\udd00", "\udfff") }),
      (text) => {
        let back: string | undefined;
        try {
          back = decodeName(encodeName(text));
        } catch {
          back = undefined;
        }
        expect(isNameText(text)).toBe(back === text);
      },
    ),
    { numRuns: 5000 },
  );
});
