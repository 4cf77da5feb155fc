import { memorySource } from "@imgkit/bytes";
import { joinPath, noXattrs, Tree, type TreeNode } from "@imgkit/core";
import fc from "fast-check";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { foldName, nameFault } from "../src/fat/names.ts";

/** Even seconds from 1980 to the given one. */
function evenSeconds(last: number): fc.Arbitrary<bigint> {
  return fc.integer({ min: 315_532_800 / 2, max: last / 2 }).map((half) => BigInt(2 * half) * 1_000_000_000n);
}

/** Names that FAT holds, of 1 to 120 characters. */
function fatName(ascii: boolean): fc.Arbitrary<string> {
  const short = fc.string({ unit: fc.constantFrom(..."ABCXYZ019_-~"), minLength: 1, maxLength: 8 });
  const dotted = fc.tuple(short, fc.string({ unit: fc.constantFrom(..."EFITXT1"), maxLength: 3 })).map(([a, b]) => (b === "" ? a : `${a}.${b}`));
  const plain = fc.string({ unit: fc.constantFrom(..."abcABC019_-+.,~ []=;"), minLength: 1, maxLength: 30 });
  const long = fc.tuple(plain, fc.integer({ min: 13, max: 120 })).map(([name, length]) => `${name}x`.padEnd(length, "l"));
  const unicode = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });
  const kinds = ascii ? [dotted, plain, long] : [dotted, plain, long, unicode];
  return fc.oneof(...kinds).filter((name) => nameFault(name) === undefined && name !== "." && name !== ".." && !/\p{Cs}/u.test(name));
}

interface Draft {
  readonly place: number;
  readonly name: string;
  readonly time: bigint;
  readonly content: Uint8Array | undefined;
  readonly readOnly: boolean;
}

/**
 * Random trees that FAT holds exactly: the root has the time of its label. With `mtools` what mtools 4.0 handles: it takes 2100 for a
 * leap year, and has no characters beyond the basic plane.
 */
export function arbitraryFatTree({ mtools = false } = {}): fc.Arbitrary<Tree> {
  const even = evenSeconds(mtools ? 4_102_444_798 : 4_354_819_198);
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    fc.tuple(fc.integer({ min: 1 }), fc.constantFrom(0, 1, 511, 512, 513, 4095, 4096, 4097, 40_000)).map(([seed, size]) => pseudoRandomBytes(seed, size)),
  );
  const draft = fc.record({
    place: fc.nat(1000),
    name: fatName(mtools),
    time: even,
    content: fc.option(content, { nil: undefined, freq: 2 }),
    readOnly: fc.boolean(),
  });
  return fc.tuple(even, fc.array(draft, { maxLength: 30 })).map(([time, drafts]) => plant(time, drafts));
}

function plant(time: bigint, drafts: readonly Draft[]): Tree {
  const meta = { uid: 0, gid: 0, xattrs: noXattrs };
  const nodes: TreeNode[] = [{ ...meta, type: "directory", path: "", mode: 0o755, mtime: time }];
  const folders = [""];
  const taken = new Set<string>();
  for (const { place, name, time: mtime, content, readOnly } of drafts) {
    const path = joinPath(folders[place % folders.length] as string, name);
    if (path.length > 259 || taken.has(foldName(path)) || new TextEncoder().encode(name).length > 255) continue;
    taken.add(foldName(path));
    if (content === undefined) {
      nodes.push({ ...meta, type: "directory", path, mode: 0o755, mtime });
      folders.push(path);
    } else {
      nodes.push({ ...meta, type: "file", path, mode: readOnly ? 0o444 : 0o644, mtime, content: memorySource(content) });
    }
  }
  return Tree.from(nodes);
}
