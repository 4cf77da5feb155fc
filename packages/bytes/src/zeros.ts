/** Whether the bytes `start` to `end` are all zero. Dense data is told by its first bytes; zeros go by at memory speed. */
export function isZero(bytes: Uint8Array, start = 0, end: number = bytes.length): boolean {
  let at = start;
  while (at < end && (bytes.byteOffset + at) % 4 !== 0) if (bytes[at++] !== 0) return false;
  if (at >= end) return true;
  const count = (end - at) >>> 2;
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, count);
  const steps = count - (count % 8);
  // The assertions are true by construction: every index is below `count`.
  for (let i = 0; i < steps; i += 8) {
    const low = (words[i] as number) | (words[i + 1] as number) | (words[i + 2] as number) | (words[i + 3] as number);
    const high = (words[i + 4] as number) | (words[i + 5] as number) | (words[i + 6] as number) | (words[i + 7] as number);
    if ((low | high) !== 0) return false;
  }
  for (let i = steps; i < count; i++) if (words[i] !== 0) return false;
  for (at += 4 * count; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}
