import { ImgkitError, streamSource } from "@imgkit/bytes";
import { type FileSource, nativeSha256, openFile } from "@imgkit/bytes/node";
import { detectCompression } from "@imgkit/compress";
import { decompress } from "@imgkit/compress/node";
import { readTar, verifyMtree } from "@imgkit/core";
import { verifyDisk } from "@imgkit/disk";
import { verifyLayout } from "@imgkit/oci";
import { directoryFiles, nodeEngines } from "@imgkit/oci/node";
import { nativeEngine } from "@imgkit/verity/node";
import { type Command, Option } from "commander";
import type { Context } from "../context.ts";
import { type Digested, digestSource } from "../digest.ts";
import { CliError, exitCode } from "../errors.ts";
import { type Io, note, printJson, printLine } from "../io.ts";
import { type Target, targetOf } from "../kind.ts";
import { readMtree } from "../mtree.ts";
import { addOutputOptions, type OutputOptions } from "../options.ts";
import { type Progress, startProgress } from "../progress.ts";
import { findingLine } from "../report.ts";
import { openSource } from "../source.ts";
import { pacedSource } from "../turns.ts";

interface VerifyOptions extends OutputOptions {
  readonly digest?: string;
  readonly rootHash?: string;
  readonly seed?: string;
  readonly mtree?: string;
  readonly as?: Target["kind"];
}

/** What a verification came to, whatever was verified. */
interface Outcome {
  readonly ok: boolean;
  /** What the verdict rests on: without it "verified" says nothing. */
  readonly anchor: string;
  /** One line each. */
  readonly findings: readonly string[];
  /** What was recomputed and found as claimed, one line each. */
  readonly verified: readonly string[];
  /** What nothing was said about, one line each. */
  readonly unverified?: readonly string[];
  /** What else `--json` says. */
  readonly details: object;
}

const examples = `
Examples:
  $ imgkit verify rootfs.tar --digest sha256:…
  $ imgkit verify rootfs.tar --mtree rootfs.mtree
  $ imgkit verify oci:DIR:TAG --digest sha256:…
  $ imgkit verify disk.raw --root-hash $(cat root.hash)
  $ imgkit verify disk.raw --json | jq .findings`;

export function addVerify(program: Command, context: Context): void {
  const command = program
    .command("verify")
    .summary("recompute every digest of a tar, a layout or a disk")
    .description("Recomputes what X claims from its bytes and says what is wrong and where. Exit code 0: verified; 1: something is wrong.")
    .argument("<x>", "a tar, an OCI layout (DIR[:TAG] or oci:DIR[:TAG]), a disk image, or with --mtree a directory")
    .option("--digest <sha256:hex>", "the digest, known from elsewhere, that the tar or the image's manifest must have")
    .option("--root-hash <hex>", "the root hash, known from elsewhere, that the disk must have")
    .option("--mtree <file>", "an mtree specification that the directory or tar must be as")
    .option("--seed <uuid>", "the seed that the disk was made with: without it the UUID in its verity superblock is taken as it is")
    .addOption(new Option("--as <kind>", "take X as this, whatever it looks like").choices(["tar", "layout", "disk"]))
    .addHelpText("after", examples)
    .action((x: string, options: VerifyOptions) => verify(x, options, context));
  addOutputOptions(command);
}

async function verify(x: string, options: VerifyOptions, context: Context): Promise<void> {
  const { io } = context;
  checkOptions(options);
  const { kind, outcome } = options.mtree === undefined ? await verifyTargetOf(x, options, io) : await verifyTree(x, options.mtree, options, io);
  if (!outcome.ok) context.outcome = exitCode.found;
  const { ok, anchor, findings, verified, unverified = [], details } = outcome;
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

async function verifyTargetOf(x: string, options: VerifyOptions, io: Io): Promise<{ kind: string; outcome: Outcome }> {
  const target = await chosenTarget(x, options);
  const progress = startProgress(io, `verify ${target.kind}`, options.progress && !options.quiet);
  return { kind: target.kind, outcome: await verifyTarget(target, options, progress).finally(() => progress.end()) };
}

async function verifyTree(x: string, specification: string, options: VerifyOptions, io: Io): Promise<{ kind: string; outcome: Outcome }> {
  const spec = readMtree(specification);
  const progress = startProgress(io, "verify tree", options.progress && !options.quiet);
  const source = await openSource(x, { xattrs: false }, 0, io, progress).finally(() => progress.end());
  try {
    const findings = await verifyMtree(source.tree, spec, { sha256: nativeSha256 });
    const lines = findings.map(({ code, path, keyword, expected, found }) => {
      if (code === "MISSING") return `${path}: missing`;
      if (code === "EXTRA") return `${path}: not in the specification`;
      return code === "NOT_CHECKED" ? `${path}: ${keyword} cannot be checked here` : `${path}: ${keyword} differs (expected ${expected}, found ${found})`;
    });
    const outcome = {
      ok: findings.length === 0,
      anchor: `the given specification ${specification}`,
      findings: lines,
      verified: findings.length === 0 ? [`${source.tree.size} entries`] : [],
      details: { findings },
    };
    return { kind: "tree", outcome };
  } finally {
    source.close();
  }
}

function checkOptions({ digest }: VerifyOptions): void {
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest)) {
    throw new CliError("USAGE", "not a digest", { field: "--digest", expected: "sha256: and 64 lowercase hexadecimal digits", found: JSON.stringify(digest) });
  }
}

async function chosenTarget(x: string, { as }: VerifyOptions): Promise<Target> {
  if (as === "tar" || as === "disk") return { kind: as, path: x };
  const target = await targetOf(as === "layout" && !x.startsWith("oci:") ? `oci:${x}` : x);
  return target;
}

function verifyTarget(target: Target, options: VerifyOptions, progress: Progress): Promise<Outcome> {
  if (options.rootHash !== undefined && target.kind !== "disk") throw notFor("--root-hash", target, "a disk");
  if (options.seed !== undefined && target.kind !== "disk") throw notFor("--seed", target, "a disk");
  if (options.digest !== undefined && target.kind === "disk") throw notFor("--digest", target, "a tar or a layout; a disk has --root-hash");
  if (target.kind === "layout") return verifyLayoutTarget(target.path, target.tag, options);
  return target.kind === "disk" ? verifyDiskTarget(target.path, options, progress) : verifyTarTarget(target.path, options);
}

function notFor(option: string, target: Target, whatFor: string): CliError {
  return new CliError("USAGE", `${option} is not for a ${target.kind}`, {
    path: target.path,
    expected: whatFor,
    hint: "Use --as KIND if it was taken for the wrong thing.",
  });
}

async function verifyTarTarget(path: string, options: VerifyOptions): Promise<Outcome> {
  const { digest } = options;
  if (digest === undefined) {
    throw new CliError("USAGE", "a tar names no digest of its own", { path, hint: "Give the published one: --digest sha256:…" });
  }
  const file = openFile(path);
  try {
    const seen = await digestSource(file);
    const ok = seen.digest === digest;
    const findings: TarFinding[] = ok ? [] : [mismatch(digest, seen), ...(await tarProblem(file, path))];
    return {
      ok,
      anchor: "the given digest",
      findings: findings.map((finding) => finding.message),
      verified: ok ? [`${seen.digest}  ${seen.size} bytes`] : [],
      details: { ...seen, findings },
    };
  } finally {
    file.close();
  }
}

/** Enough of a file to tell how it is compressed. */
const MAGIC_LENGTH = 6;

interface TarFinding {
  readonly code: string;
  readonly message: string;
  readonly expected?: string;
  readonly found?: string;
}

function mismatch(expected: string, { digest: found, size }: Digested): TarFinding {
  return { code: "DIGEST_MISMATCH", message: `the digest is not the given one (expected ${expected}, found ${found}, of ${size} bytes)`, expected, found };
}

/** A digest cannot tell what is wrong; where the file is no longer a whole tar, reading it can. */
async function tarProblem(file: FileSource, path: string): Promise<TarFinding[]> {
  const head = await file.read(0, Math.min(MAGIC_LENGTH, file.size));
  try {
    if (detectCompression(head) === "none") await readTar(file, { name: path });
    else for await (const _chunk of decompress(streamSource(file), { path }));
    return [];
  } catch (error) {
    if (!(error instanceof ImgkitError)) throw error;
    return [{ code: error.code, message: error.message }];
  }
}

async function verifyLayoutTarget(path: string, tag: string | undefined, options: VerifyOptions): Promise<Outcome> {
  const { digest } = options;
  const folder = directoryFiles(path);
  const files = { ...folder, open: async (name: string) => pacedSource(await folder.open(name)) };
  const report = await verifyLayout(files, { engines: nodeEngines, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) });
  const findings = report.findings
    .filter((finding) => finding.level === "error")
    .map(({ path: file, field, offset, sentence, expected, found }) => {
      const where = [file, field, offset === undefined ? undefined : `byte ${offset}`].filter((part) => part !== undefined).join(" ");
      const values = [expected === undefined ? undefined : `expected ${expected}`, found === undefined ? undefined : `found ${found}`]
        .filter((part) => part !== undefined)
        .join(", ");
      return `${where}: ${sentence}${values === "" ? "" : ` (${values})`}`;
    });
  const verified = report.verified.map(
    (blob) => `${blob.digest}  ${blob.kind}, ${blob.size} bytes${blob.diffId === undefined ? "" : `, diff_id ${blob.diffId}`}`,
  );
  const anchor =
    digest === undefined ? "the layout's own index only: it is consistent with itself (give --digest to hold it to a published one)" : "the given digest";
  return { ok: report.ok, anchor, findings, verified, details: { images: report.images, verified: report.verified, findings: report.findings } };
}

async function verifyDiskTarget(path: string, options: VerifyOptions, progress: Progress): Promise<Outcome> {
  const file = openFile(path);
  try {
    const { rootHash, seed } = options;
    const { ok, ...result } = await verifyDisk(pacedSource(file), {
      engine: nativeEngine,
      onProgress: (done, total) => progress.update(done, total),
      ...(rootHash === undefined ? {} : { rootHash }),
      ...(seed === undefined ? {} : { seed }),
    });
    const verified = result.pairs
      .filter((pair) => pair.ok)
      .map((pair) => `${pair.typeName}: root hash ${pair.rootHash}, partitions ${pair.data} and ${pair.verity}`);
    const anchor =
      rootHash === undefined
        ? "the disk's own partition UUIDs only: it is consistent with itself (give --root-hash to hold it to a published one)"
        : "the given root hash";
    const unverified = result.unprotected.map((number) => `partition ${number} is covered by no root hash: what it holds was not verified`);
    return { ok, anchor, findings: result.findings.map(findingLine), verified, unverified, details: result };
  } finally {
    file.close();
  }
}
