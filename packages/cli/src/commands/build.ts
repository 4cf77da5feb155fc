import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { type Command, Option } from "commander";
import { diskMembers, imageMembers, treeMembers } from "../build/members.ts";
import { type BuildFile, type OutputName, readBuildFile } from "../build/read.ts";
import { buildSchema } from "../build/schema.ts";
import { wordsOf } from "../build/words.ts";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { addEpochOption, type EpochOptions, epochOf } from "../epoch.ts";
import { CliError, exitCode } from "../errors.ts";
import { addRegistryOptions, type RegistryFlags, registryWords } from "../images/flags.ts";
import { printJson, printLine, writeAll } from "../io.ts";
import { readLock } from "../lock.ts";
import { addOutputOptions, type OutputOptions } from "../options.ts";
import { checkSideOutputs } from "../outputs.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { addLockOptions, type LockSourceOptions } from "../tree-options.ts";
import { readRecord } from "../verify/record.ts";

interface BuildOptions extends OutputOptions, EpochOptions, LockSourceOptions, RegistryFlags {
  readonly outputDir?: string;
  readonly only?: readonly OutputName[];
  readonly schema?: boolean;
}

const examples = `
Examples:
  $ imgkit build image.yaml
  $ imgkit lock image.yaml && imgkit build image.yaml --offline --output-dir out
  $ imgkit verify out/disk.raw --from image.yaml
  $ imgkit build --schema > build-1.schema.json

A build file:
  # yaml-language-server: $schema=build-1.schema.json
  imgkit: build/1
  source: mmdebstrap:bookworm?include=ca-certificates
  lock: bookworm.lock.json
  epoch: 1700000000
  tree:
    overlays: [./overlay]
  image:
    cmd: [/bin/bash]
    env: {LANG: C.UTF-8}
  outputs:
    tar: rootfs.tar
    mtree: rootfs.mtree
    oci: oci:bookworm
    disk: disk.raw
    record: build.json`;

export function addBuild(program: Command, context: Context): void {
  const command = program
    .command("build")
    .summary("make every output of one declared image")
    .description(
      "Reads a build file (YAML, form build/1) and makes the tar, mtree, OCI image and disk that it declares from one reading of its source. Nothing in it is run; a key that it does not know is refused with its line.",
    )
    .argument("[file.yaml]", "the build file; paths in it are relative to its folder")
    .option("--output-dir <folder>", "put the outputs below this folder instead of the build file's")
    .addOption(new Option("--only <output>", "make only this output (repeatable)").argParser(collectOutput))
    .option("--schema", "print the JSON Schema of build files, for editors, and do nothing else")
    .addHelpText("after", examples)
    .action((file: string | undefined, options: BuildOptions) => build(file, options, context));
  addOutputOptions(addRegistryOptions(addLockOptions(addEpochOption(command))));
}

const parts = ["tar", "oci", "disk"] as const;

function collectOutput(text: string, before: readonly OutputName[] | undefined): readonly OutputName[] {
  const part = parts.find((name) => name === text);
  if (part === undefined) throw new CliError("USAGE", "not an output", { field: "--only", expected: parts.join(", "), found: text });
  return [...(before ?? []), part];
}

/** What a step says with --json, as far as it is looked at here. */
interface Made {
  readonly output: { readonly digest: string; readonly size: number };
  readonly [more: string]: unknown;
}

async function build(path: string | undefined, options: BuildOptions, context: Context): Promise<void> {
  const { io } = context;
  if (options.schema) return printJson(io, buildSchema());
  if (path === undefined) throw new CliError("USAGE", "no build file is given", { hint: "Give FILE.yaml; --help shows one." });
  const file = readBuildFile(path, options.outputDir);
  const epoch = epochOf(options.epoch === undefined && file.epoch !== undefined ? { epoch: String(file.epoch) } : options, io);
  const outputs = chosenOutputs(file, options.only, path);
  const { tar, mtree, disk, record } = outputs;
  const [first = "", ...others] = [tar, mtree, disk].filter((name) => name !== undefined);
  if (first !== "") checkSideOutputs(first, { ...Object.fromEntries(others.map((name) => [name, name])), "--record": record });
  const folder = mkdtempSync(join(io.temporary, "imgkit-build-"));
  try {
    const made: Partial<Record<OutputName, Made>> = {};
    for (const [name, words] of steps(file, outputs, folder, options)) {
      const result = await step([...words, `--epoch=${epoch}`, "--json", ...(options.progress && !options.quiet ? [] : ["--no-progress"])], options, context);
      if (result === undefined) return;
      made[name] = result;
    }
    if (record !== undefined) {
      const own: RecordedFile = { name: path, kind: "file", ...(await digestPath(path)) };
      // The disk's first input is the tar; the others are what boots it.
      const boots = readRecord(join(folder, "disk.json"))?.inputs.slice(1) ?? [];
      const read = readRecord(join(folder, "rootfs.json")) ?? readRecord(join(folder, "image.json"));
      const inputs = [own, ...(read?.inputs ?? []), ...boots];
      await writeRecord(record, { command: "build", arguments: context.argv, epoch, inputs, outputs: recordedOutputs(outputs, made) });
    }
    await report(made, outputs, epoch, options, context);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function chosenOutputs(file: BuildFile, only: readonly OutputName[] | undefined, path: string): BuildFile["outputs"] {
  if (only === undefined) return file.outputs;
  const missing = only.find((name) => file.outputs[name] === undefined);
  if (missing !== undefined)
    throw new CliError("USAGE", "the build file does not make this output", {
      path,
      field: "--only",
      expected: Object.keys(file.outputs).join(", "),
      found: missing,
    });
  return Object.fromEntries(Object.entries(file.outputs).filter(([name]) => (only as readonly string[]).includes(name)));
}

/**
 * The command lines whose outputs are wanted. The source is read once: image and disk are made from its tar, which holds all that it is. Not so
 * of an apko configuration, which says more of its image: that is made from the source itself, and may be for several machines.
 */
function steps(file: BuildFile, outputs: BuildFile["outputs"], folder: string, options: BuildOptions): [OutputName, string[]][] {
  const { mtree, oci, disk } = outputs;
  const tar = outputs.tar ?? join(folder, "rootfs.tar");
  const record = (name: string): string[] => (outputs.record === undefined ? [] : ["--record", join(folder, name)]);
  const source = sourceWords(file, options);
  const apko = isApko(file.source);
  const out: [OutputName, string[]][] = [];
  if (!apko || [outputs.tar, mtree, disk].some((name) => name !== undefined))
    out.push(["tar", ["rootfs", sourceOf(file), "-o", tar, ...(mtree === undefined ? [] : ["--mtree", mtree]), ...source, ...record("rootfs.json")]]);
  // The tar is as it shall be: nothing of it is taken away a second time.
  const asItIs = ["--profile=none", "--xattr-include=*"];
  const image = wordsOf(file.image, imageMembers);
  if (oci !== undefined)
    out.push(["oci", apko ? ["image", file.source, "-o", oci, ...source, ...image, ...record("image.json")] : ["image", tar, "-o", oci, ...asItIs, ...image]]);
  if (disk !== undefined) out.push(["disk", ["disk", tar, "-o", disk, ...asItIs, ...wordsOf(file.disk, diskMembers), ...record("disk.json")]]);
  return out;
}

/** How the source becomes a tree. */
function sourceWords(file: BuildFile, options: BuildOptions): string[] {
  return [
    ...wordsOf(file.tree, treeMembers),
    ...(file.lock !== undefined && isApko(file.source) ? [`--lockfile=${file.lock}`] : []),
    ...(file.arch === undefined ? [] : [`--arch=${file.arch}`]),
    ...lockWords(options),
    ...registryWords(options),
  ];
}

function isApko(source: string): boolean {
  return source.startsWith("apko:");
}

/** The lock, where there is one, which must be of the source. */
function sourceOf({ source, lock: path }: BuildFile): string {
  if (path === undefined || isApko(source)) return source;
  const lock = readLock(path);
  if (lock === undefined) throw new CliError("BAD_BUILD_FILE", "there is no such lock", { path, hint: "Write it: imgkit lock FILE.yaml" });
  if (lock.source !== source) {
    const facts = { path, expected: source, found: lock.source, hint: "Write it again: imgkit lock FILE.yaml" };
    throw new CliError("BAD_BUILD_FILE", "the lock is of another source", facts);
  }
  return path;
}

function lockWords({ cache, offline, snapshot, snapshotUrl, anyVersion }: BuildOptions): string[] {
  return [
    ...(cache === undefined ? [] : [`--cache=${cache}`]),
    ...(offline ? ["--offline"] : []),
    ...(snapshot === undefined ? [] : [`--snapshot=${snapshot}`, `--snapshot-url=${snapshotUrl}`]),
    ...(anyVersion ? ["--any-version"] : []),
  ];
}

/** Runs one step; undefined when it failed, having said why itself. */
async function step(words: readonly string[], options: BuildOptions, context: Context): Promise<Made | undefined> {
  const stdout = new PassThrough();
  const printed = stdout.toArray();
  const code = await context.run(words, { ...context.io, stdout });
  stdout.end();
  const text = Buffer.concat(await printed);
  if (code === exitCode.done) return JSON.parse(text.toString()) as Made;
  context.outcome = code;
  if (options.json) await writeAll(context.io.stdout, text);
  return undefined;
}

function recordedOutputs(outputs: BuildFile["outputs"], made: Partial<Record<OutputName, Made>>): RecordedFile[] {
  const kinds = { tar: "file", oci: "manifest", disk: "disk" } as const;
  return parts.flatMap((name) => {
    const [path, one] = [outputs[name], made[name]];
    return path === undefined || one === undefined ? [] : [{ name: path, kind: kinds[name], digest: one.output.digest, size: one.output.size }];
  });
}

async function report(
  made: Partial<Record<OutputName, Made>>,
  outputs: BuildFile["outputs"],
  epoch: number,
  options: BuildOptions,
  context: Context,
): Promise<void> {
  const { io } = context;
  if (options.json) {
    const named = Object.fromEntries(Object.entries(made).filter(([name]) => outputs[name as OutputName] !== undefined));
    return printJson(io, { command: "build", epoch, outputs: named });
  }
  if (options.quiet) return;
  for (const name of parts) {
    const [path, one] = [outputs[name], made[name]];
    if (path === undefined || one === undefined) continue;
    await printLine(io, `${one.output.digest}  ${path}  (${one.output.size} bytes)`);
    if (name === "disk") await printLine(io, `  root hash ${String(one.rootHash)}`);
  }
}
