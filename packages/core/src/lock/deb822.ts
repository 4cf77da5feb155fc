import type { ByteStream } from "@imgkit/bytes";

// Debian's control format (Debian Policy 5.1), as InRelease and Packages files use it: stanzas of `Field: value`, parted by blank
// lines; a line that starts with a blank goes on with the field before it.

/** One stanza: fields by lowercase name, continued lines joined by newlines. */
export type Stanza = ReadonlyMap<string, string>;

/** A stanza at a time, whatever the size of the whole. */
export async function* readStanzas(stream: ByteStream): AsyncGenerator<Stanza, void, undefined> {
  let stanza = new Map<string, string>();
  let last: string | undefined;
  for await (const line of readLines(stream)) {
    if (line.trim() === "") {
      if (stanza.size > 0) yield stanza;
      stanza = new Map();
      last = undefined;
    } else if (/^[ \t]/.test(line)) {
      if (last !== undefined) stanza.set(last, `${stanza.get(last)}\n${line.trim()}`);
    } else {
      const colon = line.indexOf(":");
      last = colon < 1 ? undefined : line.slice(0, colon).toLowerCase();
      if (last !== undefined) stanza.set(last, line.slice(colon + 1).trim());
    }
  }
  if (stanza.size > 0) yield stanza;
}

async function* readLines(stream: ByteStream): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}
