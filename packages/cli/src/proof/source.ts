import { type ByteSource, type HttpSource, openHttp, sliceSource, toHex } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import { type DiskVerityPair, readVerityPairs } from "@imgkit/disk";
import { nodeNetwork } from "@imgkit/oci/node";
import { readSuperblock, unverifiedRootHash, type VerityPair, verityLayout } from "@imgkit/verity";
import { nativeEngine } from "@imgkit/verity/node";
import { CliError } from "../errors.ts";
import type { Io } from "../io.ts";
import { pacedSource } from "../turns.ts";

/** Where data and tree of a proof come from. */
export interface ProofSource {
  readonly pair: VerityPair;
  /** What the root hash is taken from: without it "verified" says nothing. */
  readonly anchor: "given" | "partition UUIDs" | "tree";
  /** Where the file system belongs in the tree of its disk; `/` for data that are no disk. */
  readonly mountPoint: string;
  /** Bytes and requests, of what was read over the network. */
  readonly traffic: () => { readonly bytes: number; readonly requests: number } | undefined;
  readonly close: () => void;
}

export interface ProofSourceOptions {
  /** Undefined: that of the disk's partition UUIDs, else of the top of the tree. */
  readonly rootHash: Uint8Array | undefined;
  readonly hashOffset: number;
  /** The path of the file that is asked for: it says which file system of a disk. */
  readonly path: string | undefined;
}

interface Opened {
  readonly source: ByteSource;
  readonly http?: HttpSource;
  readonly close: () => void;
}

export function isUrl(x: string): boolean {
  return /^https?:\/\//.test(x);
}

async function open(x: string, { env, signal }: Io): Promise<Opened> {
  if (!isUrl(x)) {
    const file = openFile(x);
    return { source: pacedSource(file), close: () => file.close() };
  }
  const network = nodeNetwork({ env });
  const http = await openHttp(x, {
    fetch: (url, init) => network.fetch(url, { ...init, redirect: "manual" }),
    signal,
    pause: (attempt) => network.sleep(500 * 2 ** attempt, signal),
  });
  return { source: http, http, close: () => undefined };
}

/**
 * Opens a disk, or data and the file with their tree: files, block devices or URLs.
 * @throws CliError USAGE when the disk has no pair or several for the path; what opening and reading throw.
 */
export async function openProofSource(data: string, hash: string | undefined, options: ProofSourceOptions, io: Io): Promise<ProofSource> {
  const opened: Opened[] = [];
  const close = (): void => {
    for (const one of opened.splice(0)) one.close();
  };
  const add = async (x: string): Promise<ByteSource> => {
    const one = await open(x, io);
    opened.push(one);
    return one.source;
  };
  const traffic = (): ReturnType<ProofSource["traffic"]> => {
    const found = opened.flatMap(({ http }) => (http === undefined ? [] : [http.traffic]));
    if (found.length === 0) return undefined;
    return { bytes: found.reduce((sum, { bytes }) => sum + bytes, 0), requests: found.reduce((sum, { requests }) => sum + requests, 0) };
  };
  try {
    const source = await add(data);
    if (hash === undefined) return { ...(await ofDisk(source, data, options)), traffic, close };
    const sources = { data: source, hash: await add(hash) };
    return { ...(await held(sources, options.hashOffset, options.rootHash)), mountPoint: "/", traffic, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function held(
  sources: Pick<VerityPair, "data" | "hash">,
  hashOffset: number,
  rootHash: Uint8Array | undefined,
): Promise<Pick<ProofSource, "pair" | "anchor">> {
  const layout = verityLayout({ ...(await readSuperblock(sources.hash, hashOffset)), hashOffset });
  const pair = { ...sources, layout, engine: nativeEngine };
  if (rootHash !== undefined) return { pair: { ...pair, rootHash }, anchor: "given" };
  return { pair: { ...pair, rootHash: await unverifiedRootHash(pair) }, anchor: "tree" };
}

async function ofDisk(source: ByteSource, x: string, { rootHash, path }: ProofSourceOptions): Promise<Omit<ProofSource, "traffic" | "close">> {
  const pairs = await readVerityPairs(source);
  const chosen = choose(pairs, path, rootHash, x);
  const { data, verity, mountPoint, announced } = chosen;
  const sliced = [data, verity].map(({ offset, size }) => {
    const start = Math.min(offset, source.size);
    return sliceSource(source, start, Math.min(source.size, start + size));
  }) as [ByteSource, ByteSource];
  const found = await held({ data: sliced[0], hash: sliced[1] }, 0, rootHash ?? announced);
  return { ...found, anchor: rootHash === undefined ? "partition UUIDs" : "given", mountPoint };
}

/** The file system that a path is in, or the one that the root hash is of; else the root. */
function choose(pairs: readonly DiskVerityPair[], path: string | undefined, rootHash: Uint8Array | undefined, x: string): DiskVerityPair {
  const names = `/${path?.replace(/^\/+/, "") ?? ""}`;
  const within = (mountPoint: string): boolean => mountPoint === "/" || names.startsWith(`${mountPoint}/`);
  const ofPath = pairs.filter(({ mountPoint }) => within(mountPoint)).sort((a, b) => b.mountPoint.length - a.mountPoint.length);
  const ofHash = rootHash === undefined ? [] : pairs.filter(({ announced }) => toHex(announced) === toHex(rootHash));
  const candidates = path !== undefined ? ofPath.filter(({ mountPoint }) => mountPoint === ofPath[0]?.mountPoint) : ofHash.length > 0 ? ofHash : ofPath;
  const [chosen] = candidates;
  if (chosen !== undefined && candidates.length === 1) return chosen;
  const found = pairs.map(({ mountPoint, data, verity }) => `${mountPoint} on partitions ${data.number} and ${verity.number}`).join(", ");
  throw new CliError("USAGE", "not one verity pair that can be meant", {
    path: x,
    expected: "one file system with its verity partition",
    found: found || "none",
    hint: "Give --root-hash, or cut the partitions out and name both files.",
  });
}

/** The path within a file system that is mounted there. */
export function pathWithin(mountPoint: string, path: string): string {
  const names = `/${path.replace(/^\/+/, "")}`;
  return mountPoint === "/" ? names : names.slice(mountPoint.length);
}
