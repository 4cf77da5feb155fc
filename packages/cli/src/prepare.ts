import { statSync } from "node:fs";
import { openFile, readError } from "@imgkit/bytes/node";
import {
  applyMtree,
  type Change,
  findSuspects,
  movePrefix,
  normalise,
  type ObjectNode,
  overlay,
  type Suspect,
  stripPrefix,
  type Tree,
  treeFromObject,
} from "@imgkit/core";
import { digestPath } from "./digest.ts";
import type { Io } from "./io.ts";
import { readMtree } from "./mtree.ts";
import type { OpenedSource, StatedImage } from "./opened.ts";
import type { Progress } from "./progress.ts";
import type { RecordedFile } from "./record.ts";
import { openSource, type SourceOptions } from "./source.ts";
import { type AddedFile, normaliseOptions, type TreeOptions } from "./tree-options.ts";

/** A source with all that the options put to it, brought to its epoch. */
export interface PreparedSource {
  readonly tree: Tree;
  readonly findings: readonly string[];
  readonly changes: readonly Change[];
  readonly suspects: readonly Suspect[];
  readonly profileUsed: string;
  readonly image?: StatedImage;
  readonly layersOf?: OpenedSource["layersOf"];
  /** What a record says of the source, its overlays, added files and specification; it may read them once more. */
  inputs(): Promise<RecordedFile[]>;
  close(): void;
}

/** Opens a source, builds its tree up as the options say, and normalises it. */
export async function prepareSource(spec: string, options: TreeOptions & SourceOptions, epoch: number, io: Io, progress: Progress): Promise<PreparedSource> {
  const opened: OpenedSource[] = [];
  const files: AddedContent[] = [];
  const close = (): void => {
    for (const one of [...opened, ...files]) one.close();
  };
  try {
    const open = async (one: string, how: SourceOptions): Promise<OpenedSource> => {
      const source = await openSource(one, how, epoch, io, progress);
      opened.push(source);
      return source;
    };
    const source = await open(spec, options);
    const build = new Build(source.tree);
    if (options.stripPrefix !== undefined) build.step((tree) => stripPrefix(tree, treePath(options.stripPrefix)));
    if (options.prefix !== undefined) build.step((tree) => movePrefix(tree, "", treePath(options.prefix)));
    for (const one of options.overlay ?? []) {
      const top = await open(one, { ...options, onBase: false });
      build.step((tree) => overlay(tree, top.tree));
    }
    files.push(...(options.add ?? []).map(openAdded));
    if (files.length > 0)
      build.step((tree) =>
        overlay(tree, treeFromObject(Object.fromEntries(files.map(({ path, node }) => [path, node])), { mtime: epoch }), { folders: "base" }),
      );
    const { applyMtree: specification } = options;
    if (specification !== undefined) build.step((tree) => applyMtree(tree, readMtree(specification)));
    const how = normaliseOptions(options, epoch, source.profile);
    build.step((tree) => normalise(tree, how));
    return {
      tree: build.tree,
      findings: opened.flatMap((one) => one.findings),
      changes: build.changes,
      suspects: await findSuspects(build.tree),
      profileUsed: how.profile?.name ?? "none",
      ...(source.image === undefined ? {} : { image: source.image }),
      ...(source.layersOf === undefined ? {} : { layersOf: source.layersOf }),
      inputs: () => inputsOf(opened, [...files.map((one) => one.file), ...(specification === undefined ? [] : [specification])]),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** A tree on its way through steps that each say what they changed. */
class Build {
  tree: Tree;
  readonly changes: Change[] = [];

  constructor(tree: Tree) {
    this.tree = tree;
  }

  step(job: (tree: Tree) => { readonly tree: Tree; readonly changes: readonly Change[] }): void {
    const { tree, changes } = job(this.tree);
    this.tree = tree;
    for (const change of changes) this.changes.push(change);
  }
}

function treePath(text: string | undefined): string {
  return (text ?? "")
    .split("/")
    .filter((name) => name !== "" && name !== ".")
    .join("/");
}

interface AddedContent {
  readonly path: string;
  readonly file: string;
  readonly node: ObjectNode;
  close(): void;
}

function openAdded({ path, file }: AddedFile): AddedContent {
  const source = openFile(file);
  try {
    const mode = statSync(file).mode & 0o777;
    return { path, file, node: { content: source, mode }, close: () => source.close() };
  } catch (cause) {
    source.close();
    throw readError(file, cause);
  }
}

async function inputsOf(sources: readonly OpenedSource[], files: readonly string[]): Promise<RecordedFile[]> {
  const out: RecordedFile[] = [];
  for (const source of sources) out.push(await source.recorded());
  for (const name of files) out.push({ name, kind: "file", ...(await digestPath(name)) });
  return out;
}
