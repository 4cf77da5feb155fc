/** A stranger's text, short enough for a message: beyond `length` characters it ends in "...". */
export function clip(text: string, length: number = 120): string {
  return text.length > length ? `${text.slice(0, length - 3)}...` : text;
}
