// Where inodes stand in the metadata area: in slots of 32 bytes. An inode with its xattrs and its inline data never
// crosses a block when it fits into one, as the kernel wants of inline data.

import { alignUp, BLOCK_SIZE, SLOT_SIZE } from "./format.ts";

const SLOTS_PER_BLOCK = BLOCK_SIZE / SLOT_SIZE;

/** Hands out places, best fit: the fullest block that still has room, the last of such; else new blocks at the end. */
export class SlotAllocator {
  /** For each number of free slots, the offsets of the free rests of that size, oldest first. */
  readonly #rests: number[][] = Array.from({ length: SLOTS_PER_BLOCK }, () => []);
  #end: number;

  /** `start`: where the area begins, in bytes; a multiple of the block size. */
  constructor(start: number) {
    this.#end = start;
  }

  /** Where the area ends, in bytes: a multiple of the block size. */
  get end(): number {
    return this.#end;
  }

  /** The byte offset of a place for `size` bytes. */
  allocate(size: number): number {
    const slots = Math.ceil(size / SLOT_SIZE);
    for (let free = slots; free < SLOTS_PER_BLOCK; free++) {
      const rests = this.#rests[free] as number[];
      // Popping an empty array is slow enough to be seen (measured: half the time of laying out).
      if (rests.length === 0) continue;
      const at = rests.pop() as number;
      this.#keepRest(at + slots * SLOT_SIZE, free - slots);
      return at;
    }
    const at = this.#end;
    this.#end += alignUp(size, BLOCK_SIZE);
    this.#keepRest(at + slots * SLOT_SIZE, (this.#end - at) / SLOT_SIZE - slots);
    return at;
  }

  #keepRest(at: number, slots: number): void {
    if (slots > 0) this.#rests[slots]?.push(at);
  }
}
