import { statPath, writeFileAtomic } from "@imgkit/bytes/node";
import { type Command, Option } from "commander";
import { isBuildFile } from "../build/read.ts";
import type { Context } from "../context.ts";
import { CliError, exitCode } from "../errors.ts";
import { type Io, note, printJson, printLine } from "../io.ts";
import { type Target, targetOf } from "../kind.ts";
import { addOutputOptions, collectText } from "../options.ts";
import { checkSideOutputs } from "../outputs.ts";
import { type Progress, startProgress } from "../progress.ts";
import { addTreeOptions } from "../tree-options.ts";
import { verifyDiskTarget } from "../verify/disk.ts";
import { verifyFilesFrom } from "../verify/disk-files.ts";
import { verifyLayoutTarget } from "../verify/layout.ts";
import type { Outcome, VerifyOptions } from "../verify/outcome.ts";
import { rebuild } from "../verify/rebuild.ts";
import { readRecord } from "../verify/record.ts";
import { rebuildFile, rerun } from "../verify/rerun.ts";
import { verifyTar } from "../verify/tar.ts";
import { verifyTree } from "../verify/tree.ts";

const examples = `
Examples:
  $ imgkit verify rootfs.tar --digest sha256:…
  $ imgkit verify rootfs.tar --mtree rootfs.mtree
  $ imgkit verify oci:DIR:TAG --digest sha256:…
  $ imgkit verify oci:DIR:TAG --from image.lock.json
  $ imgkit verify disk.raw --from disk.record.json
  $ imgkit verify disk.raw --from bookworm.lock.json --root-hash $(cat root.hash)
  $ imgkit verify disk.raw --root-hash $(cat root.hash)
  $ imgkit verify disk.raw --root-hash $(cat root.hash) --html report.html
  $ imgkit verify disk.raw --verity-cert verity.pem
  $ imgkit verify disk.raw --json | jq .findings`;

export function addVerify(program: Command, context: Context): void {
  const command = program
    .command("verify")
    .summary("recompute every digest of a tar, an image or a disk")
    .description(
      "Recomputes what X claims from its bytes and says what is wrong and where; with --from it is made anew as well, and both are compared digest by digest. Exit code 0: verified; 1: something is wrong.",
    )
    .argument("<x>", "a tar, an image (docker://REF, oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE), a disk image, or with --mtree a directory")
    .option("--digest <sha256:hex>", "the digest, known from elsewhere, that the tar or the image's manifest must have")
    .option("--root-hash <hex>", "the root hash, known from elsewhere, that the disk must have")
    .option("--verity-cert <file>", "a certificate, known from elsewhere, by whose key the disk's root hashes must be signed; the file may have several")
    .option("--root-hash-signature <file>", "a signature of the disk's root hash in a file of its own, with --verity-cert")
    .option("--mtree <file>", "an mtree specification that the directory, the tar or the files of the disk must be as")
    .option("--seed <uuid>", "the seed that the disk was made with: without it the UUID in its verity superblock is taken as it is")
    .option(
      "--from <what>",
      "make X anew and compare: a record (--record) of the run that made it, a build file, the source or lock of each layer, the lowest first, or that of a disk's files (repeatable; with the options below as they were)",
      collectText,
    )
    .option("--platform <os/arch>", "which image of an index: with --from, and with --mtree")
    .option("--html <file>", "also write the outcome as a page for a browser, which needs no other file")
    .addOption(new Option("--as <kind>", "take X as this, whatever it looks like").choices(["tar", "layout", "disk"]))
    .addHelpText("after", examples)
    .action((x: string, options: VerifyOptions) => verify(x, options, context));
  addTreeOptions(addOutputOptions(command));
}

async function verify(x: string, options: VerifyOptions, context: Context): Promise<void> {
  const { io } = context;
  checkOptions(options);
  checkSideOutputs(x, { "--html": options.html }, "what is verified");
  const { kind, outcome } = await outcomeOf(x, options, context);
  if (!outcome.ok) context.outcome = exitCode.found;
  const { ok, anchor, findings, verified, unverified = [], details } = outcome;
  if (options.html !== undefined) await writePage(options.html, x, kind, outcome, options);
  if (options.json) {
    await printJson(io, { command: "verify", target: x, kind, ok, anchor, ...details });
    return;
  }
  for (const finding of findings) note(io, `${x}: ${finding}`);
  for (const warning of unverified) note(io, `warning: ${x}: ${warning}`);
  if (options.quiet) return;
  for (const line of verified) await printLine(io, `  ${line}`);
  await printLine(io, ok ? `${x}: verified against ${anchor}` : `${x}: NOT verified: ${findings.length} ${findings.length === 1 ? "finding" : "findings"}`);
}

/** With --mtree the tree alone, and of a disk its blocks first: what a damaged file system says of its files is worth nothing. */
async function outcomeOf(x: string, options: VerifyOptions, context: Context): Promise<{ kind: string; outcome: Outcome }> {
  const { mtree } = options;
  if (mtree === undefined) return verifyTargetOf(x, options, context);
  if (!(await isDisk(x, options))) return verifyTree(x, mtree, options, context.io);
  const blocks = await verifyTargetOf(x, options, context);
  if (!blocks.outcome.ok) return blocks;
  const { outcome } = await verifyTree(x, mtree, options, context.io);
  return { kind: blocks.kind, outcome: both(blocks.outcome, outcome, options) };
}

async function isDisk(x: string, { as }: VerifyOptions): Promise<boolean> {
  if (as !== undefined) return as === "disk";
  return statPath(x)?.isFile() === true && (await targetOf(x)).kind === "disk";
}

/** The library of signatures and reports is loaded for who asks. */
async function writePage(path: string, target: string, kind: string, outcome: Outcome, options: VerifyOptions): Promise<void> {
  const { reportPage } = await import("@imgkit/attest");
  const { ok, anchor, findings, verified, unverified = [], disk } = outcome;
  const anchored = [options.digest, options.rootHash, options.verityCert, options.mtree, options.from].some((given) => given !== undefined);
  const drawn = disk === undefined ? {} : { disk, certified: options.verityCert !== undefined };
  const page = reportPage({ target, kind, ok, anchor, anchored, findings, verified, unverified, ...drawn });
  await writeFileAtomic(path, [new TextEncoder().encode(page)]);
}

async function verifyTargetOf(x: string, options: VerifyOptions, context: Context): Promise<{ kind: string; outcome: Outcome }> {
  const target = await chosenTarget(x, options);
  const { from } = options;
  const progress = startProgress(context.io, `verify ${target.kind}`, options.progress && !options.quiet);
  try {
    checkFor(target, options);
    // A tar claims nothing by itself: with --from alone there is nothing to hold it to before.
    if (target.kind === "tar" && options.digest === undefined && from !== undefined) {
      return { kind: target.kind, outcome: await recompute(target, from, options, context, progress) };
    }
    const consistent = await verifyTarget(target, options, context.io, progress);
    if (from === undefined || !consistent.ok) return { kind: target.kind, outcome: consistent };
    return { kind: target.kind, outcome: both(consistent, await recompute(target, from, options, context, progress), options) };
  } finally {
    progress.end();
  }
}

function recompute(target: Target, from: readonly string[], options: VerifyOptions, context: Context, progress: Progress): Promise<Outcome> {
  const [first = ""] = from;
  if (from.length === 1 && isBuildFile(first)) return rebuildFile(target, first, options, context);
  const record = from.length === 1 ? readRecord(first) : undefined;
  if (record !== undefined) return rerun(target, first, record, options, context);
  return target.kind === "disk" ? verifyFilesFrom(target.path, from, options, context, progress) : rebuild(target, from, options, context, progress);
}

function both(consistent: Outcome, again: Outcome, { digest, rootHash, verityCert }: VerifyOptions): Outcome {
  return {
    ok: again.ok,
    anchor: digest === undefined && rootHash === undefined && verityCert === undefined ? again.anchor : `${consistent.anchor}, and ${again.anchor}`,
    findings: again.findings,
    verified: [...consistent.verified, ...again.verified],
    unverified: [...(consistent.unverified ?? []), ...(again.unverified ?? [])],
    details: { ...consistent.details, ...again.details },
    ...(consistent.disk === undefined ? {} : { disk: consistent.disk }),
  };
}

function checkOptions({ digest, rootHashSignature, verityCert }: VerifyOptions): void {
  if (rootHashSignature !== undefined && verityCert === undefined)
    throw new CliError("USAGE", "a signature and no certificate", { field: "--root-hash-signature", hint: "Give --verity-cert FILE." });
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest)) {
    throw new CliError("USAGE", "not a digest", { field: "--digest", expected: "sha256: and 64 lowercase hexadecimal digits", found: JSON.stringify(digest) });
  }
}

async function chosenTarget(x: string, { as }: VerifyOptions): Promise<Target> {
  if (as === "tar" || as === "disk") return { kind: as, path: x };
  return as === "layout" ? { kind: as, path: x } : targetOf(x);
}

function checkFor(target: Target, options: VerifyOptions): void {
  if (options.rootHash !== undefined && target.kind !== "disk") throw notFor("--root-hash", target, "a disk");
  if (options.verityCert !== undefined && target.kind !== "disk") throw notFor("--verity-cert", target, "a disk");
  if (options.seed !== undefined && target.kind !== "disk") throw notFor("--seed", target, "a disk");
  if (options.digest !== undefined && target.kind === "disk") throw notFor("--digest", target, "a tar or a layout; a disk has --root-hash");
}

function verifyTarget(target: Target, options: VerifyOptions, io: Io, progress: Progress): Promise<Outcome> {
  if (target.kind === "layout") return verifyLayoutTarget(target.path, options, io);
  return target.kind === "disk" ? verifyDiskTarget(target.path, options, progress) : verifyTar(target.path, options);
}

function notFor(option: string, target: Target, whatFor: string): CliError {
  return new CliError("USAGE", `${option} is not for a ${target.kind}`, {
    path: target.path,
    expected: whatFor,
    hint: "Use --as KIND if it was taken for the wrong thing.",
  });
}
