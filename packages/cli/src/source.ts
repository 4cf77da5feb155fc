import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { type ByteSource, streamSource } from "@imgkit/bytes";
import { openFile, statPath } from "@imgkit/bytes/node";
import { type Lock, readTar, writeTar } from "@imgkit/core";
import {
  mmdebstrapVersion,
  readDirectory,
  replayMmdebstrap,
  runMmdebstrap,
  type SourceFinding,
  type SpooledSource,
  spoolStream,
  withoutReplayTraces,
} from "@imgkit/core/node";
import type { ApkoSourceOptions } from "./apko-options.ts";
import { type Digested, digesting, digestPath, digestSource, digestStream } from "./digest.ts";
import { CliError } from "./errors.ts";
import type { OpenImageOptions } from "./images/source.ts";
import type { Io } from "./io.ts";
import { readLock } from "./lock.ts";
import type { OpenedSource } from "./opened.ts";
import { cacheFolder } from "./options.ts";
import type { Progress } from "./progress.ts";
import type { RecordedFile } from "./record.ts";
import type { LockSourceOptions, TreeOptions } from "./tree-options.ts";
import { pacedStream } from "./turns.ts";

/** Transports of skopeo's that name something else than a path. */
const transports = /^(docker|oci|oci-archive|docker-archive|docker-daemon|containers-storage|dir|ostree|tarball|sif):/;

// What reads images and compressed tars is loaded when there is one: most of a short run is the loading of code.

/** What opening a source depends on; the members of a lock are looked at only when it is one. */
export interface SourceOptions extends Pick<TreeOptions, "xattrs">, Partial<LockSourceOptions>, OpenImageOptions, ApkoSourceOptions {
  /** What this run writes: no part of a folder that it stands in. */
  readonly outputs?: readonly (string | undefined)[];
  /** A folder in which an output grows: left out as well, and not worth a word. */
  readonly staging?: string | undefined;
}

/** Opens a source as it is. */
export async function openSource(spec: string, options: SourceOptions, epoch: number, io: Io, progress: Progress): Promise<OpenedSource> {
  if (spec === "-") return openStdin(io, progress);
  if (spec.startsWith("mmdebstrap:")) return openMmdebstrap(spec, epoch, io, progress);
  if (spec.startsWith("apko:")) return (await import("./apko-source.ts")).openApko(spec, options, epoch, io, progress);
  if (spec.includes(":") || existsSync(join(spec, "oci-layout"))) {
    const { isImage, openImageTree } = await import("./images/source.ts");
    if (isImage(spec)) return openImageTree(spec, options, io);
  }
  const stat = statPath(spec);
  if (stat === undefined && transports.test(spec)) {
    throw new CliError("UNKNOWN_KIND", "a kind of source that this version does not read", {
      path: spec,
      expected: "a directory, a tar, -, mmdebstrap:SUITE, apko:FILE.yaml, docker://REF, oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE",
    });
  }
  if (stat?.isDirectory()) return openDirectory(spec, options);
  const lock = readLock(spec);
  return lock === undefined ? openTarFile(spec, io, progress) : openLock(spec, lock, options, epoch, io, progress);
}

async function openDirectory(path: string, options: SourceOptions): Promise<OpenedSource> {
  const findings: string[] = [];
  const { staging } = options;
  const outputs = [...(options.outputs ?? []), staging].filter((name) => name !== undefined).map((name) => (name === "-" ? "/dev/stdout" : name));
  const onFinding = (finding: SourceFinding): void => {
    // Its name is another one each time, and what is reported of a source is not.
    if (staging !== undefined && finding.code === "OUTPUT_IGNORED" && basename(finding.path) === basename(staging)) return;
    findings.push(`${finding.path}: ${finding.message}`);
  };
  const tree = await readDirectory(path, { xattrs: options.xattrs, outputs, onFinding });
  return {
    tree,
    findings,
    profile: "none",
    // A folder has no bytes of its own: its digest is that of its tree as a tar/1, before anything was changed.
    recorded: async () => ({ name: path, kind: "tree", ...(await digestStream(writeTar(tree, { epoch: 0 }))) }),
    close() {},
  };
}

async function openTarFile(path: string, io: Io, progress: Progress): Promise<OpenedSource> {
  const file = openFile(path);
  try {
    const head = await file.read(0, Math.min(16, file.size));
    const recorded = async (): Promise<RecordedFile> => ({ name: path, kind: "file", ...(await digestSource(file)) });
    const { detectCompression } = await import("@imgkit/compress");
    if (detectCompression(head) === "none") return await openTar(path, file, recorded, () => file.close(), file);
    const { decompress } = await import("@imgkit/compress/node");
    const spool = await spoolStream(decompress(counted(streamSource(file), file.size, progress), { path }), io.temporary);
    return await openSpooled(path, spool, recorded, () => file.close(), file);
  } catch (error) {
    file.close();
    throw error;
  }
}

async function openStdin(io: Io, progress: Progress): Promise<OpenedSource> {
  const { decompress } = await import("@imgkit/compress/node");
  const input = digesting(counted(io.stdin, undefined, progress));
  const spool = await spoolStream(decompress(input.stream, { path: "standard input" }), io.temporary);
  const seen: Digested = input.result();
  return openSpooled("-", spool, async () => ({ name: "-", kind: "stream", ...seen }));
}

async function openMmdebstrap(spec: string, epoch: number, io: Io, progress: Progress): Promise<OpenedSource> {
  const { env, signal } = io;
  const tool = `mmdebstrap ${await mmdebstrapVersion(env)}`;
  const input = digesting(counted(runMmdebstrap(spec, { epoch, env, signal }), undefined, progress));
  const spooling = spoolStream(input.stream, io.temporary);
  io.unfinished.add(spooling);
  const spool = await spooling.finally(() => io.unfinished.delete(spooling));
  const seen = input.result();
  const source = await openSpooled(spec, spool, async () => ({ name: spec, kind: "stream", tool, ...seen }));
  return { ...source, profile: "debian" };
}

async function openLock(path: string, lock: Lock, options: SourceOptions, epoch: number, io: Io, progress: Progress): Promise<OpenedSource> {
  const { env, signal } = io;
  const { offline, snapshot, snapshotUrl, anyVersion } = options;
  const stream = replayMmdebstrap(lock, {
    epoch,
    env,
    signal,
    cache: cacheFolder(options, io),
    ...(offline === undefined ? {} : { offline }),
    ...(anyVersion === undefined ? {} : { anyVersion }),
    ...(snapshot === undefined || snapshotUrl === undefined ? {} : { snapshot: { base: snapshotUrl, timestamp: snapshot } }),
  });
  const spool = await spoolStream(counted(stream, undefined, progress), io.temporary);
  const { tar: _, ...source } = await openSpooled(path, spool, async () => ({ name: path, kind: "file", ...(await digestPath(path)) }));
  return { ...source, tree: withoutReplayTraces(source.tree).tree, profile: "debian" };
}

/** The tar in a spooled stream; the temporary file goes with `close`, or now if it is no tar. */
async function openSpooled(
  name: string,
  spool: SpooledSource,
  recorded: () => Promise<RecordedFile>,
  close: () => void = () => undefined,
  stored?: ByteSource,
): Promise<OpenedSource> {
  const closeBoth = (): void => {
    spool.close();
    close();
  };
  try {
    return await openTar(name === "-" ? "standard input" : name, spool, recorded, closeBoth, stored);
  } catch (error) {
    spool.close();
    throw error;
  }
}

async function openTar(name: string, source: ByteSource, recorded: () => Promise<RecordedFile>, close: () => void, stored?: ByteSource): Promise<OpenedSource> {
  const { tree, findings } = await readTar(source, { name });
  const tar = { bytes: source, ...(stored === undefined ? {} : { stored }) };
  return { tree, findings: findings.map((f) => `${f.path || "/"}: ${f.detail}`), profile: "none", tar, recorded, close };
}

/** Reports each chunk's progress on its way through. */
async function* counted(stream: AsyncIterable<Uint8Array>, total: number | undefined, progress: Progress): AsyncGenerator<Uint8Array, void, undefined> {
  let done = 0;
  for await (const chunk of pacedStream(stream)) {
    done += chunk.length;
    progress.update(done, total);
    yield chunk;
  }
}
