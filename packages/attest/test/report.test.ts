import type { DiskFinding, DiskFindingCode, DiskVerification } from "@imgkit/disk";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ReportInput, reportPage } from "../src/index.ts";
import { chainOf } from "../src/report/chain.ts";

const MiB = 1 << 20;
const partition = (number: number, typeName: string, offset: number, size: number) => ({
  number,
  type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
  typeName,
  uuid: `00000000-0000-4000-8000-00000000000${number}`,
  name: typeName,
  offset,
  size,
});
const disk: DiskVerification = {
  ok: true,
  findings: [],
  size: 100 * MiB,
  sectorSize: 512,
  diskGuid: "00000000-0000-4000-8000-00000000000a",
  partitions: [partition(1, "esp", MiB, 9 * MiB), partition(2, "root-x86-64", 10 * MiB, 80 * MiB), partition(3, "root-x86-64-verity", 90 * MiB, 9 * MiB)],
  pairs: [
    {
      typeName: "root-x86-64",
      mountPoint: "/",
      data: 2,
      verity: 3,
      rootHash: "ab".repeat(32),
      ok: true,
      tree: {
        data: { offset: 10 * MiB, size: 80 * MiB },
        levels: [
          { offset: 90 * MiB + 4096, size: 4096 },
          { offset: 90 * MiB + 8192, size: 160 * 4096 },
        ],
      },
    },
  ],
  ukis: [],
  unprotected: [1],
};
const input: ReportInput = {
  target: "disk.raw",
  kind: "disk",
  ok: true,
  anchor: "the given root hash",
  anchored: true,
  verified: ["root-x86-64"],
  unverified: ["partition 1 is covered by no root hash"],
  findings: [],
  disk,
};

/** What a page is made of: the words of markup, without any text or value. */
function structure(page: string): { readonly elements: Set<string>; readonly attributes: Set<string> } {
  const tags = [...page.matchAll(/<\/?([a-zA-Z!][a-zA-Z0-9]*)((?:\s+[a-zA-Z-]+="[^"<>]*")*)(?:\s+html)?\s*>/g)];
  // Nothing else may look like markup.
  const stripped = page.replace(/<\/?([a-zA-Z!][a-zA-Z0-9]*)((?:\s+[a-zA-Z-]+="[^"<>]*")*)(?:\s+html)?\s*>/g, "");
  expect(stripped).not.toMatch(/[<]/);
  const attributes = tags.flatMap(([, , text = ""]) => [...text.matchAll(/([a-zA-Z-]+)="/g)].map(([, name = ""]) => name));
  return { elements: new Set(tags.map(([, name = ""]) => name)), attributes: new Set(attributes) };
}

const elements =
  "!doctype html head meta title style body main header h1 h2 code p section ol ul li b i svg rect text polygon span table thead tbody tr th td pre".split(" ");
const attributes = "lang charset http-equiv content name class viewBox role aria-label x y width height text-anchor points".split(" ");

describe("the page of a verification", () => {
  test("says verified only where an anchor from elsewhere was given and nothing was found", () => {
    const heading = (given: Partial<ReportInput>): string => /<h1>(.*?)<\/h1>/.exec(reportPage({ ...input, ...given }))?.[1] ?? "";
    expect(heading({})).toBe("verified");
    expect(heading({ anchored: false })).toBe("consistent with itself");
    expect(heading({ ok: false, findings: ["one"] })).toBe("NOT verified");
    expect(heading({ ok: false, anchored: false, findings: ["one"] })).toBe("NOT verified");
  });

  test("is the same for the same verification, and needs nothing from elsewhere", () => {
    const page = reportPage(input);
    expect(reportPage(structuredClone(input))).toBe(page);
    expect(page).not.toMatch(/https?:|url\(|@import|<script|<img|<link|<iframe|\bsrc=|\bhref=/);
    expect(page).toContain(`content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;"`);
  });

  test("whatever a stranger's names and messages hold, they are text", () => {
    const nasty = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom("<", ">", '"', "'", "&", "script", "/", "=", "\u0000", "\n", "\u001b[2J", "\u202e", "-->", "]]>", "onload") }),
    );
    const findings = fc.array(
      fc
        .record({ message: nasty, offset: fc.nat(200 * MiB), length: fc.nat(MiB), partition: fc.constantFrom(1, 2, 3) })
        .map((one) => ({ code: "DATA" as const, ...one })),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(nasty, nasty, nasty, findings, (target, name, anchor, found) => {
        const partitions = disk.partitions.map((one) => ({ ...one, name, typeName: name }));
        const page = reportPage({ ...input, target, anchor, verified: [name], findings: [anchor], disk: { ...disk, partitions, findings: found } });
        const made = structure(page);
        expect([...made.elements].filter((one) => !elements.includes(one))).toEqual([]);
        expect([...made.attributes].filter((one) => !attributes.includes(one))).toEqual([]);
        expect(page.replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f\u202a-\u202e]/);
      }),
    );
  });

  test("no number in a picture is out of it, however odd the table is", () => {
    const odd = fc.array(fc.record({ offset: fc.nat(300 * MiB), size: fc.nat(300 * MiB) }), { maxLength: 130 });
    fc.assert(
      fc.property(odd, fc.nat(200 * MiB), (places, size) => {
        const partitions = places.map(({ offset, size: length }, i) => partition(i + 1, "linux-generic", offset, length));
        const findings: DiskFinding[] = [{ code: "NO_VERITY", message: "m", offset: size, length: 1 }];
        const page = reportPage({ ...input, disk: { ...disk, size, partitions, pairs: [], findings } });
        for (const [, x = "", width = ""] of page.matchAll(/<rect x="([^"]*)" y="[^"]*" width="([^"]*)"/g)) {
          expect(Number(x)).toBeGreaterThanOrEqual(0);
          expect(Number(width)).toBeGreaterThanOrEqual(0);
          expect(Number(x) + Number(width)).toBeLessThanOrEqual(961);
        }
      }),
    );
  });

  test("a bad range stands in its row, at its place: of data, of a level, and of neither", () => {
    const rows = (finding: DiskFinding): string[][] =>
      [
        ...reportPage({ ...input, disk: { ...disk, findings: [finding] } }).matchAll(/<rect x="([^"]*)" y="([^"]*)" width="([^"]*)" height="16" class="bad">/g),
      ].map(([, x = "", y = "", width = ""]) => [x, y, width]);
    const at = (offset: number, length: number, of: 2 | 3): DiskFinding => ({ code: "DATA", message: "m", partition: of, offset, length });
    // The second half of the data; rows are 22 apart, and begin at 96.
    expect(rows(at(50 * MiB, 40 * MiB, 2))).toEqual([["528", "44", "432"]]);
    // The last block of the lowest level is too small for its scale and is drawn all the same.
    expect(rows(at(90 * MiB + 8192 + 159 * 4096, 4096, 3))).toEqual([["954.6", "22", "5.4"]]);
    expect(rows(at(90 * MiB + 4096, 4096, 3))).toEqual([["96", "0", "864"]]);
    expect(rows(at(10 * MiB, 1, 2))).toEqual([["96", "44", "3"]]);
    expect(rows(at(95 * MiB, 1, 3))).toEqual([]);
  });

  test.each([
    ["PRIMARY_CRC", "partition table"],
    ["NO_GPT", "partition table"],
    ["MBR_RECORD", "partition table"],
    ["ESP", "boot"],
    ["COMMAND_LINE", "boot"],
    ["ROOT_HASH_NOT_ANNOUNCED", "partition UUIDs"],
    ["IDENTIFIER", "partition UUIDs"],
    ["NO_VERITY", "partition UUIDs"],
    ["SIGNATURE", "signature"],
    ["SUPERBLOCK", "root hash"],
    ["ROOT_HASH", "root hash"],
    ["TREE", "tree"],
    ["PADDING", "tree"],
    ["DATA", "file system"],
    ["NOT_COVERED", "file system"],
  ] as [DiskFindingCode, string][])("%s breaks the link %s of the chain, and no other", (code, name) => {
    const chain = chainOf({ ...disk, findings: [{ code, message: "m", offset: 0, length: 1 }] }, false);
    expect(chain.filter(({ state }) => state === "broken").map((link) => link.name)).toEqual([name]);
    expect(chain.find((link) => link.name === "boot")?.state).toBe(name === "boot" ? "broken" : "absent");
  });

  test("the link of signatures is there where certificates were given", () => {
    const links = (certified: boolean): string[] => chainOf(disk, certified).map(({ name }) => name);
    expect(links(true).filter((name) => !links(false).includes(name))).toEqual(["signature"]);
  });

  test("without a disk there is a verdict and lists, for a layout or a tar", () => {
    const { disk: _disk, ...plain } = input;
    const page = reportPage({ ...plain, target: "oci:images:web", kind: "layout", verified: ["a", "b"] });
    expect(page).toContain('<h2>What was recomputed</h2><ul class="holds"><li>a</li><li>b</li></ul>');
    expect(page).not.toContain("<svg");
  });
});
