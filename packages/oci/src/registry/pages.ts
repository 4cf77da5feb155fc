// Lists that come in pages (distribution-spec, "Listing Tags" and "Listing Referrers"): the next one is named by a Link.
import { clip } from "../clip.ts";
import { OciError } from "../errors.ts";
import { MAX_DOCUMENT, parseJson } from "../json-read.ts";
import { isObject } from "../shape.ts";
import { followed } from "./address.ts";
import { small } from "./endpoints.ts";
import { parseNextLink } from "./header.ts";
import type { Answer } from "./transport.ts";

/** More pages than any list has. */
const MAX_PAGES = 10_000;

export interface Page {
  readonly bytes: Uint8Array;
  readonly answer: Answer;
}

/** Reads the whole of a page. */
export async function readPage(answer: Answer): Promise<Page> {
  return { bytes: await small(answer, MAX_DOCUMENT), answer };
}

/** Each page's bytes and answer, from the first on. */
export async function* pages(first: URL, ask: (url: URL) => Promise<Page>): AsyncGenerator<Page, void, undefined> {
  const seen = new Set<string>();
  for (let url: URL | undefined = first; url !== undefined; ) {
    if (seen.has(url.href) || seen.size === MAX_PAGES) {
      throw new OciError("REGISTRY_PROTOCOL", "a list without an end", { path: url.host, expected: `at most ${MAX_PAGES} pages, each once` }, "system");
    }
    seen.add(url.href);
    const page: Page = await ask(url);
    yield page;
    const { answer } = page;
    const link = parseNextLink(answer.header("link") ?? "");
    url = link === undefined ? undefined : followed(link, answer.url, "the next page");
  }
}

/** The strings under a key of a page; null stands for none, as old registries write it. */
export function strings(bytes: Uint8Array, key: string, url: URL): readonly string[] {
  const value = parseJson(bytes, { path: url.host });
  if (!isObject(value)) throw badList(url, "an object");
  const list = value[key] ?? [];
  if (!Array.isArray(list) || !list.every((item) => typeof item === "string" && item.length <= 1024)) throw badList(url, `a list of strings under ${key}`);
  return list;
}

function badList(url: URL, expected: string): OciError {
  return new OciError("REGISTRY_PROTOCOL", "a page that is no list", { path: clip(url.host), expected }, "system");
}
