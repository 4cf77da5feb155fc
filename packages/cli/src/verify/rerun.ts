import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import type { Context } from "../context.ts";
import { type Digested, digestPath } from "../digest.ts";
import { containerSuffix } from "../disk/container.ts";
import { CliError } from "../errors.ts";
import type { RegistryFlags } from "../images/flags.ts";
import { openImagePlace } from "../images/source.ts";
import { type Io, note } from "../io.ts";
import type { Target } from "../kind.ts";
import type { BuildRecord } from "../record.ts";
import { version } from "../version.ts";
import type { Outcome } from "./outcome.ts";
import { type ReadRecord, readRecord } from "./record.ts";

// --from RECORD: the recorded command is run again, its outputs kept apart, and both records are compared: that covers the whole of
// an image or a disk, settings included.

/** The commands whose outputs X can be, and the options by which they write anything. */
const outputs: Readonly<Record<string, readonly string[]>> = {
  rootfs: ["-o", "--output", "--mtree", "--record"],
  layer: ["-o", "--output", "--record"],
  image: ["-o", "--output", "--record"],
  disk: ["-o", "--output", "--record", "--map", "--secure-boot-export", "--verity-export"],
};

/** @throws CliError USAGE for a record of another command; NOT_REBUILT when the recorded command fails now. */
export async function rerun(target: Target, path: string, record: ReadRecord, flags: RegistryFlags, context: Context): Promise<Outcome> {
  const { io } = context;
  if (record.imgkit !== version()) note(io, `warning: ${path}: recorded by imgkit ${record.imgkit}, run again by ${version()}`);
  const folder = mkdtempSync(join(io.temporary, "imgkit-rerun-"));
  try {
    const again = join(folder, "record.json");
    const stdout = new Writable({ write: (_chunk, _encoding, done) => done() });
    const code = await context.run(redirected(record, path, folder, again), { ...io, stdout });
    const made = code === 0 ? readRecord(again) : undefined;
    if (made === undefined) {
      throw notRebuilt(path, code);
    }
    return compare(target, path, await published(target, flags, io), record, made);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The recorded arguments, with everything that is written going to the folder: a later option wins over an earlier one. A name may have chosen a format. */
function redirected(record: BuildRecord, path: string, folder: string, again: string): string[] {
  const own = outputs[record.command];
  if (own === undefined || record.arguments[0] !== record.command) {
    const facts = { path, expected: Object.keys(outputs).join(", "), found: record.command };
    const hint = record.command === "build" ? { hint: "Give the build file itself: --from FILE.yaml" } : {};
    throw new CliError("USAGE", "a record of a command whose output is no tar, image or disk", { ...facts, ...hint });
  }
  const end = record.arguments.indexOf("--");
  const [options, operands] = end < 0 ? [record.arguments, []] : [record.arguments.slice(0, end), record.arguments.slice(end)];
  const uses = (option: string): boolean => options.some((word) => word === option || word.startsWith(`${option}=`));
  const side = own.filter((option) => option !== "-o" && option !== "--output" && option !== "--record" && uses(option));
  const moved = side.flatMap((option) => [option, join(folder, option.replace(/^-+/, ""))]);
  // The epoch may have come from the environment.
  const epoch = record.epoch === undefined ? [] : ["--epoch", String(record.epoch)];
  return [...options, ...epoch, "--output", join(folder, `output${containerSuffix(record.outputs[0]?.name ?? "")}`), "--record", again, ...moved, ...operands];
}

/** --from FILE.yaml: the one output of the build file that X is, made again. @throws CliError NOT_REBUILT when the build fails now. */
export async function rebuildFile(target: Target, path: string, flags: RegistryFlags, context: Context): Promise<Outcome> {
  const { io } = context;
  const name = { tar: "tar", layout: "oci", disk: "disk" }[target.kind];
  const folder = mkdtempSync(join(io.temporary, "imgkit-rebuild-"));
  try {
    const stdout = new PassThrough();
    const printed = stdout.toArray();
    const code = await context.run(["build", path, "--only", name, "--output-dir", folder, "--json"], { ...io, stdout });
    stdout.end();
    const text = Buffer.concat(await printed).toString();
    if (code !== 0) throw notRebuilt(path, code);
    const { digest } = JSON.parse(text).outputs[name].output as Digested;
    const found = await published(target, flags, io);
    const ok = digest === found.digest;
    return {
      ok,
      anchor: `the build file ${path}, from which it was made anew`,
      findings: ok ? [] : [`not what ${path} gives (expected ${digest}, found ${found.digest}); imgkit diff shows why`],
      verified: ok ? [`${digest}  recomputed from ${path}`] : [],
      details: { recomputed: { file: path, expected: digest, found: found.digest } },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function notRebuilt(path: string, code: number): CliError {
  return new CliError("NOT_REBUILT", "it could not be made anew", { path, found: `exit code ${code}`, hint: "The failed run's own message stands above." });
}

/** What X is known by: the digest of its bytes, or of the image's manifest. */
async function published(target: Target, flags: RegistryFlags, io: Io): Promise<Digested> {
  if (target.kind !== "layout") return digestPath(target.path);
  const place = await openImagePlace(target.path, flags, io);
  place.close();
  return { digest: place.descriptor.digest, size: place.descriptor.size };
}

function compare(target: Target, path: string, found: Digested, before: BuildRecord, after: BuildRecord): Outcome {
  const [output] = after.outputs;
  const inputs = after.inputs.flatMap((input, i) => {
    const was = before.inputs[i];
    return was?.digest === input.digest
      ? []
      : [`the input ${input.name} is not the one that was recorded (expected ${was?.digest ?? "none"}, found ${input.digest})`];
  });
  const ok = output?.digest === found.digest;
  const differs = ok ? [] : [`not what the recorded command gives (expected ${output?.digest}, found ${found.digest}); imgkit diff shows why`];
  // Other inputs that give the same bytes are worth a word, but the bytes are what was asked about.
  return {
    ok,
    anchor: `the record ${path}, whose command was run again and gave the same bytes`,
    findings: ok ? [] : [...differs, ...inputs],
    verified: ok ? [`${found.digest}  recomputed by imgkit ${before.arguments.join(" ")}`] : [],
    unverified: ok ? inputs : [],
    details: { recomputed: { record: path, kind: target.kind, expected: output?.digest, found: found.digest, inputs } },
  };
}
