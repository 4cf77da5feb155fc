import { lookUp, parentOf, type Tree, type TreeNode, treePathOf } from "@imgkit/core";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { note, printJson, printLines } from "../io.ts";
import { longLines, nodeDocument } from "../listing.ts";
import { addReadOptions, openTree, type ReadOptions, whatIsRead } from "../open.ts";
import { addOutputOptions, type OutputOptions } from "../options.ts";
import { startProgress } from "../progress.ts";

interface LsOptions extends ReadOptions, OutputOptions {
  readonly long?: boolean;
  readonly recursive?: boolean;
}

const examples = `
Examples:
  $ imgkit ls rootfs.tar
  $ imgkit ls -lR disk.raw /etc
  $ imgkit ls oci:DIR:TAG usr/bin --long
  $ imgkit ls -R rootfs.tar.zst --json | jq -r '.entries[] | select(.mode >= "4000") | .path'`;

export function addLs(program: Command, context: Context): void {
  const command = program
    .command("ls")
    .summary("list what is in a tree")
    .description("Lists a folder of X, or one node of it, in the order of a tar/1. Times are UTC.")
    .argument("<x>", whatIsRead)
    .argument("[path]", "a path in X; default: its root")
    .option("-l, --long", "modes, owners, sizes, times and where links lead, as tar -tv prints them")
    .option("-R, --recursive", "also what is in the folders")
    .addHelpText("after", examples)
    .action((x: string, path: string | undefined, options: LsOptions) => ls(x, path ?? "", options, context));
  addOutputOptions(addReadOptions(command));
}

async function ls(x: string, path: string, options: LsOptions, context: Context): Promise<void> {
  const { io } = context;
  const progress = startProgress(io, "ls", options.progress && options.quiet !== true);
  // Only the JSON document shows attributes.
  const read = { ...options, xattrs: options.xattrs && options.json === true };
  const source = await openTree(x, read, io, progress).finally(() => progress.end());
  try {
    const { tree, findings } = source;
    const nodes = listed(tree, lookUp(tree, treePathOf(path)), options.recursive === true);
    if (options.json) {
      await printJson(io, { command: "ls", target: x, path: `/${treePathOf(path)}`, entries: nodes.map((node) => nodeDocument(tree, node)), findings });
      return;
    }
    await printLines(io, options.long ? longLines(tree, nodes) : nodes.map((node) => `/${node.path}`));
    if (!options.quiet) for (const finding of findings) note(io, `warning: ${finding}`);
  } finally {
    source.close();
  }
}

/** What is in a folder, or with `recursive` the folder and all below it; anything else by itself. */
function listed(tree: Tree, node: TreeNode, recursive: boolean): TreeNode[] {
  if (node.type !== "directory") return [node];
  const prefix = node.path === "" ? "" : `${node.path}/`;
  if (recursive) return [...tree].filter(({ path }) => path === node.path || path.startsWith(prefix));
  return [...tree].filter(({ path }) => path !== "" && parentOf(path) === node.path);
}
