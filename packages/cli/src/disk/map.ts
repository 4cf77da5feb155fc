import { type DiskLayout, mapErofs } from "@imgkit/disk";

const BLOCK = 4096;

/** Which block of each file system of a disk is whose, as `imgkit.map/1`: JSON, each extent on a line of its own. */
export async function* diskMap({ pairs, esp }: DiskLayout): AsyncGenerator<Uint8Array, void, undefined> {
  const encoder = new TextEncoder();
  yield encoder.encode('{"schema":"imgkit.map/1","fileSystems":[\n');
  for (const [i, { mountPoint, fileSystem, data }] of pairs.entries()) {
    const head = { partition: (esp === undefined ? 1 : 2) + 2 * i, mountPoint, offset: data.offset, blockSize: BLOCK };
    yield encoder.encode(`${i > 0 ? ",\n" : ""}${JSON.stringify(head).slice(0, -1)},"extents":[\n`);
    const extents = await mapErofs(fileSystem.source);
    for (let at = 0; at < extents.length; at += 1000) {
      const lines = extents.slice(at, at + 1000).map(({ start, end, part, path, sharedBy }) => {
        const blocks = [Math.floor(start / BLOCK), Math.floor((end - 1) / BLOCK)];
        return JSON.stringify({ blocks, start, end, part, path, sharedBy });
      });
      yield encoder.encode(`${at > 0 ? ",\n" : ""}${lines.join(",\n")}`);
    }
    yield encoder.encode("\n]}");
  }
  yield encoder.encode("\n]}\n");
}
