// Names on Unix are bytes. imgkit holds them as JavaScript strings: UTF-8 where they are UTF-8, and each byte that is
// not part of a valid sequence as the lone surrogate U+DC00 + byte (Python's "surrogateescape", PEP 383). Every byte
// string has exactly one such text, and encodeName(decodeName(b)) is b.

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The text of a name's bytes; never fails, never loses a byte. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return decodeEscaped(bytes);
  }
}

function decodeEscaped(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes, i);
    if (length === 0) {
      out += String.fromCharCode(0xdc00 + (bytes[i] ?? 0));
      i += 1;
    } else {
      out += strict.decode(bytes.subarray(i, i + length));
      i += length;
    }
  }
  return out;
}

/** Length in bytes of the valid UTF-8 sequence at `at`, or 0. Unicode 15 table 3-7. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const b0 = bytes[at] ?? 0;
  if (b0 < 0x80) return 1;
  const b1 = bytes[at + 1] ?? 0;
  const continues = (i: number): boolean => ((bytes[at + i] ?? 0) & 0xc0) === 0x80;
  if (b0 >= 0xc2 && b0 <= 0xdf) return continues(1) ? 2 : 0;
  if (b0 >= 0xe0 && b0 <= 0xef) {
    const low = b0 === 0xe0 ? 0xa0 : 0x80;
    const high = b0 === 0xed ? 0x9f : 0xbf;
    return b1 >= low && b1 <= high && continues(2) ? 3 : 0;
  }
  if (b0 >= 0xf0 && b0 <= 0xf4) {
    const low = b0 === 0xf0 ? 0x90 : 0x80;
    const high = b0 === 0xf4 ? 0x8f : 0xbf;
    return b1 >= low && b1 <= high && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

/**
 * The bytes of a name's text.
 * @throws RangeError on a lone surrogate outside U+DC80 to U+DCFF, which stands for no byte.
 */
export function encodeName(text: string): Uint8Array {
  if (!/\p{Surrogate}/u.test(text)) return encoder.encode(text);
  const out: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) out.push(code - 0xdc00);
    else if (code >= 0xd800 && code <= 0xdfff) throw new RangeError(`a name holds the lone surrogate U+${code.toString(16)}, which stands for no byte`);
    else out.push(...encoder.encode(character));
  }
  return Uint8Array.from(out);
}

/** Orders two texts by the bytes of their names, as strcmp does: negative, zero or positive. */
export function compareNames(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // Below the surrogates, UTF-16 and UTF-8 order agree; with one in play only the bytes tell.
    if (x < 0xd800 && y < 0xd800) return x - y;
    return compareBytes(encodeName(a), encodeName(b));
  }
  return a.length - b.length;
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
