// Markup as text. What a stranger's disk or image says stands in it as text only: nothing of it can become an element, an attribute or
// a control character.

import { printable } from "@imgkit/bytes";

/** Markup that is ready. */
export interface Markup {
  readonly markup: string;
}

export type Content = Markup | string | number | readonly Content[] | undefined;

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function text(value: string): string {
  return printable(value).replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

export function render(content: Content): string {
  if (content === undefined) return "";
  if (typeof content === "string") return text(content);
  if (typeof content === "number") return String(content);
  return "markup" in content ? content.markup : content.map(render).join("");
}

/** An element: its attributes and its content. An attribute that is undefined is left out. */
export function element(name: string, attributes: Readonly<Record<string, string | number | undefined>>, ...content: readonly Content[]): Markup {
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const head = [name, ...given.map(([key, value]) => `${key}="${text(String(value))}"`)].join(" ");
  return { markup: `<${head}>${render(content)}</${name}>` };
}

/** Lines of a listing, each on its own. */
export function listing(lines: readonly string[]): Markup {
  return element("pre", {}, { markup: lines.map(text).join("\n") });
}

export function table(head: readonly string[], rows: readonly (readonly Content[])[]): Markup {
  const cells = (name: string, row: readonly Content[]): Markup =>
    element(
      "tr",
      {},
      row.map((cell) => element(name, {}, cell)),
    );
  return element(
    "table",
    {},
    element("thead", {}, cells("th", head)),
    element(
      "tbody",
      {},
      rows.map((row) => cells("td", row)),
    ),
  );
}
