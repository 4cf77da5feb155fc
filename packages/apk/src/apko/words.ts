import { ApkError } from "../errors.ts";

/**
 * A command's words as a shell splits them, without doing anything else: quotes, and backslashes outside of single ones. A word that begins
 * with # ends the command, as for Go's shlex, which apko splits with.
 * @throws ApkError BAD_CONFIG for a quote that is not closed.
 */
export function splitWords(text: string, field: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quote === "'" && c !== "'") word += c;
    else if (c === "\\" && quote !== "'") word = (word ?? "") + (text[++i] ?? "");
    else if (quote !== "" && c === quote) quote = "";
    else if (quote !== "") word += c;
    else if (c === "'" || c === '"') {
      quote = c;
      word ??= "";
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (c === "#" && word === undefined) break;
    else word = (word ?? "") + c;
  }
  if (quote !== "") throw new ApkError("BAD_CONFIG", "a quote that is not closed", { field, found: JSON.stringify(text) });
  if (word !== undefined) words.push(word);
  return words;
}
