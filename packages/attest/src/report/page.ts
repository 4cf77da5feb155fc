// A verification as one page that needs nothing else: no script, no picture, no font from anywhere. The same verification, the same page.

import type { DiskVerification, VerifiedPair } from "@imgkit/disk";
import { chainOf } from "./chain.ts";
import { type Content, element, listing, type Markup, render, table } from "./markup.ts";
import { partitionMap, treePicture } from "./pictures.ts";
import { style } from "./style.ts";

/** What was verified and what came of it. All texts are shown as text, whatever stands in them. */
export interface ReportInput {
  /** What was verified, by the name that the reader knows. */
  readonly target: string;
  /** `disk`, `layout`, `tar`, …: a word for the reader. */
  readonly kind: string;
  /** Nothing was found against it. */
  readonly ok: boolean;
  /** What the verdict rests on, after "verified against". */
  readonly anchor: string;
  /** The anchor comes from elsewhere than from what was verified. Without that "verified" is not said. */
  readonly anchored: boolean;
  /** Of a disk: root hashes were held to certificates that were given. */
  readonly certified?: boolean;
  /** One line each: what was recomputed and is as claimed, what nothing is known about, what is wrong. */
  readonly verified: readonly string[];
  readonly unverified: readonly string[];
  readonly findings: readonly string[];
  /** Of a disk: drawn, with the chain that leads from the anchor to the files. */
  readonly disk?: DiskVerification;
}

/** The page, as HTML. */
export function reportPage(input: ReportInput): string {
  const { target, disk } = input;
  const policy = { "http-equiv": "Content-Security-Policy", content: "default-src 'none'; style-src 'unsafe-inline'" };
  const head = `<meta charset="utf-8">${voidElement("meta", policy)}${voidElement("meta", { name: "viewport", content: "width=device-width" })}`;
  const title = render(element("title", {}, `${verdictOf(input)}: ${target}`));
  const sections = [
    verdict(input),
    disk === undefined ? undefined : diskSections(disk, input.certified === true),
    lists(input),
    disk === undefined ? undefined : recipe(target, disk),
  ];
  const body = render(element("main", {}, sections));
  return `<!doctype html>\n<html lang="en"><head>${head}${title}<style>${style}</style></head>\n<body>${body}</body></html>\n`;
}

function voidElement(name: string, attributes: Readonly<Record<string, string>>): string {
  return render(element(name, attributes)).replace(`</${name}>`, "");
}

function verdictOf({ ok, anchored }: ReportInput): string {
  if (!ok) return "NOT verified";
  return anchored ? "verified" : "consistent with itself";
}

function verdict(input: ReportInput): Markup {
  const { target, kind, ok, anchor, anchored, findings } = input;
  const sentence = ok
    ? anchored
      ? `Every digest of the ${kind} was recomputed from its bytes, and held against ${anchor}.`
      : `Every claim of the ${kind} was recomputed and fits the others. Whoever made it could have made all of them: nothing known from elsewhere was given.`
    : `${findings.length} ${findings.length === 1 ? "thing is" : "things are"} wrong. It was held against ${anchor}.`;
  return element(
    "header",
    { class: ok ? (anchored ? "holds" : "open") : "bad" },
    element("h1", {}, verdictOf(input)),
    element("code", {}, target),
    element("p", {}, sentence),
  );
}

function section(title: string, ...content: readonly Content[]): Markup {
  return element("section", {}, element("h2", {}, title), content);
}

function diskSections(disk: DiskVerification, certified: boolean): Content {
  const { partitions, pairs, unprotected, findings } = disk;
  const words = { holds: "holds", broken: "broken", absent: "not there" };
  const chain = chainOf(disk, certified).map(({ name, claim, state, findings: against }) =>
    element(
      "li",
      { class: state },
      element("b", {}, name),
      ": ",
      claim,
      ". ",
      element("i", {}, state === "broken" ? `broken, ${against.length} found` : words[state]),
    ),
  );
  const state = (number: number): string => {
    const pair = pairs.find(({ data, verity }) => data === number || verity === number);
    if (pair === undefined) return unprotected.includes(number) ? "covered by no root hash" : "";
    return pair.ok ? "verified" : "NOT verified";
  };
  const rows = partitions.map(({ number, typeName, name, uuid, offset, size }) => [
    number,
    typeName,
    name,
    element("code", {}, uuid),
    offset,
    size,
    state(number),
  ]);
  return [
    section("From the anchor to the files", element("ol", {}, chain)),
    section(
      "The disk",
      partitionMap(disk),
      element(
        "p",
        { class: "key" },
        key("data", "data with a tree"),
        key("tree", "tree"),
        key("open", "covered by no root hash"),
        key("gap", "no partition"),
        key("bad", "found"),
      ),
      table(["", "type", "name", "UUID", "at byte", "bytes", ""], rows),
    ),
    pairs.map((pair) => pairSection(pair, disk, findings)),
  ];
}

function key(kind: string, text: string): Markup {
  return element("span", {}, element("span", { class: `key-${kind}` }), ` ${text} `);
}

function pairSection(pair: VerifiedPair, { partitions }: DiskVerification, findings: DiskVerification["findings"]): Markup {
  const { typeName, mountPoint, data, verity, rootHash } = pair;
  const size = partitions.find(({ number }) => number === data)?.size ?? 0;
  return section(
    `${typeName}: ${mountPoint}`,
    element("p", {}, `Partition ${data} (${size} bytes), tree in partition ${verity}, root hash `, element("code", {}, rootHash)),
    treePicture(pair, findings) ?? element("p", {}, "Its tree cannot be drawn: the superblock cannot be used."),
  );
}

function lists({ findings, verified, unverified }: ReportInput): Content {
  const list = (title: string, kind: string, lines: readonly string[]): Content =>
    lines.length === 0
      ? undefined
      : section(
          title,
          element(
            "ul",
            { class: kind },
            lines.map((line) => element("li", {}, line)),
          ),
        );
  return [list("What is wrong", "bad", findings), list("What was not verified", "open", unverified), list("What was recomputed", "holds", verified)];
}

/** How the same is found without imgkit. */
function recipe(target: string, { pairs, partitions }: DiskVerification): Content {
  if (pairs.length === 0) return undefined;
  const file = shellWord(target);
  const cut = (number: number, name: string): string => {
    const found = partitions.find((partition) => partition.number === number);
    return `tail -c +${(found?.offset ?? 0) + 1} ${file} | head -c ${found?.size ?? 0} > ${name}`;
  };
  const lines = pairs.flatMap(({ data, verity, rootHash }) => [
    cut(data, `part${data}`),
    cut(verity, `part${verity}`),
    `veritysetup verify part${data} part${verity} ${rootHash}`,
  ]);
  return section("The same without imgkit", element("p", {}, "With GNU coreutils and veritysetup; the root hash is the one that you trust."), listing(lines));
}

function shellWord(text: string): string {
  return /^[\w./+:@%-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
