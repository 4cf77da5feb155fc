import { streamSource } from "@imgkit/bytes";
import { lookUp, type TreeNode, treePathOf } from "@imgkit/core";
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { note, writeAll } from "../io.ts";
import { addReadOptions, openTree, type ReadOptions, whatIsRead } from "../open.ts";
import { startProgress } from "../progress.ts";
import { pacedStream } from "../turns.ts";

interface CatOptions extends ReadOptions {
  readonly follow?: boolean;
}

const examples = `
Examples:
  $ imgkit cat rootfs.tar etc/os-release
  $ imgkit cat --follow disk.raw /bin/sh | sha256sum
  $ zstdcat rootfs.tar.zst | imgkit cat - var/lib/dpkg/status`;

export function addCat(program: Command, context: Context): void {
  const command = program
    .command("cat")
    .summary("print a file of a tree")
    .description("Writes the content of one file of X to standard output, byte for byte.")
    .argument("<x>", whatIsRead)
    .argument("<path>", "the file's path in X")
    .option("-L, --follow", "follow symbolic links, within X")
    .addHelpText("after", examples)
    .action((x: string, path: string, options: CatOptions) => cat(x, path, options, context));
  addReadOptions(command);
}

async function cat(x: string, path: string, options: CatOptions, context: Context): Promise<void> {
  const { io } = context;
  context.stdoutTaken = true;
  const source = await openTree(x, { ...options, xattrs: false }, io, startProgress(io, "cat", false));
  try {
    const node = source.tree.inode(lookUp(source.tree, treePathOf(path), { follow: options.follow === true }));
    if (node.type !== "file") throw notAFile(x, node);
    for await (const chunk of pacedStream(streamSource(node.content))) await writeAll(io.stdout, chunk);
    for (const finding of source.findings) note(io, `warning: ${finding}`);
  } finally {
    source.close();
  }
}

function notAFile(x: string, node: TreeNode): CliError {
  const path = `/${node.path}`;
  if (node.type === "symlink") {
    return new CliError("NOT_A_FILE", "a symbolic link, not a file", { path, found: `it leads to ${node.target}`, hint: "Add --follow." });
  }
  const hint = node.type === "directory" ? `List it: imgkit ls ${x} ${path}` : "Only regular files have content.";
  return new CliError("NOT_A_FILE", `a ${node.type}, not a file`, { path, hint });
}
