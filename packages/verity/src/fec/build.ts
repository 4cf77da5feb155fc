import type { ByteSource } from "@imgkit/bytes";
import type { WriteAt } from "../build.ts";
import type { FecLayout } from "./layout.ts";
import { Columns, FecMessage } from "./message.ts";

export interface BuildFecOptions {
  /** Called now and then with the parity bytes done and their total. */
  readonly onProgress?: (bytesDone: number, total: number) => void;
}

/**
 * Computes the parity of data and tree and writes it in ascending order. Offsets count from the parity's own start. Memory is flat: 16 KiB
 * of each of the 255 columns.
 * @param hash the hash file, with the tree in it. Where it or the data are shorter than the layout says they read as zeros.
 */
export async function buildFec(data: ByteSource, hash: ByteSource, layout: FecLayout, write: WriteAt, options: BuildFecOptions = {}): Promise<void> {
  const columns = await Columns.create(new FecMessage(layout, data, hash));
  const codewords = layout.rounds * layout.blockSize;
  for (let first = 0; first < codewords; first += columns.width) {
    const width = Math.min(columns.width, codewords - first);
    // What is written may be kept by whom it is given to.
    await write(first * layout.roots, (await columns.parity(first, width)).slice());
    options.onProgress?.((first + width) * layout.roots, layout.size);
  }
}
