/** Arrays that are used again: a new one costs the zeroing of its memory, which is as much as reading a file into it. */
export interface BufferPool {
  /** An array of this many bytes, which may hold anything. */
  readonly take: (size: number) => Uint8Array;
  /** Hands back an array that nobody uses any more. A part of one, and what comes from elsewhere, may be handed in and is let go. */
  readonly give: (bytes: Uint8Array) => void;
}

/** A pool that keeps what it is given back; it makes arrays only when it has none of that size. */
export function bufferPool(): BufferPool {
  const made = new WeakSet<ArrayBufferLike>();
  const free: Uint8Array[] = [];
  return {
    take(size) {
      const last = free.at(-1);
      if (last?.length === size) {
        free.pop();
        return last;
      }
      const bytes = new Uint8Array(size);
      made.add(bytes.buffer);
      return bytes;
    },
    give(bytes) {
      if (bytes.length === bytes.buffer.byteLength && made.has(bytes.buffer) && !free.includes(bytes)) free.push(bytes);
    },
  };
}
