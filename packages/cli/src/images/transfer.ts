import { type CopyEvent, type CopyReport, copyImage, copyReferrers, type Descriptor, type ImageTarget, parsePlatform } from "@imgkit/oci";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { type Io, printJson, printLine } from "../io.ts";
import type { OutputOptions } from "../options.ts";
import { formatBytes, type Progress, startProgress } from "../progress.ts";
import { isRemote, referenceOf, registryClient } from "./client.ts";
import type { RegistryFlags } from "./flags.ts";
import { type ImagePlace, openImagePlace, openRemote } from "./source.ts";
import { openImageTarget } from "./targets.ts";

export interface TransferOptions extends OutputOptions, RegistryFlags {
  /** Of an index, only these images. */
  readonly platform?: readonly string[];
  readonly parallel?: number;
  /** Also what refers to the image. */
  readonly referrers?: boolean;
}

/** Copies an image from anywhere to anywhere, and says what it came to. `command` is the one that was typed. */
export async function transfer(command: string, from: string, to: string, options: TransferOptions, context: Context): Promise<void> {
  const { io } = context;
  const client = registryClient(options, io);
  const progress = startProgress(io, command, options.progress && !options.quiet);
  try {
    const place = isRemote(from) ? await openRemote(client, referenceOf(from)) : await openImagePlace(from, options, io);
    try {
      const opened = await openImageTarget(to, place.tag, client, io);
      try {
        const report = await copyImage(place.source, place.descriptor, opened.target, opened.tag, {
          ...platforms(options.platform),
          ...(options.parallel === undefined ? {} : { parallel: options.parallel }),
          onProgress: summed(progress),
          signal: io.signal,
        });
        const referrers = options.referrers === true ? await copyReferrersOf(place, report.descriptor, opened.target, io) : [];
        await opened.finish();
        progress.end();
        await tell(command, from, opened.name, { report, referrers }, options, context);
      } finally {
        opened.abort();
      }
    } finally {
      place.close();
    }
  } finally {
    progress.end();
  }
}

/** @throws CliError USAGE where what refers to an image is not listed. */
async function copyReferrersOf({ repository }: ImagePlace, { digest }: Descriptor, target: ImageTarget, io: Io): Promise<readonly Descriptor[]> {
  if (repository !== undefined) return copyReferrers(repository, digest, target, { signal: io.signal });
  throw new CliError("USAGE", "--referrers copies from registries: a layout has no list of them", { hint: "Leave it out." });
}

function platforms(names: readonly string[] = []): object {
  const [first, ...others] = names.map(parsePlatform);
  if (first === undefined) return {};
  return others.length === 0 ? { platform: first } : { platforms: [first, ...others] };
}

/** One bar over all blobs that are known so far. */
function summed(progress: Progress): (event: CopyEvent) => void {
  const done = new Map<string, number>();
  let total = 0;
  return ({ descriptor, state, done: bytes }) => {
    if (!done.has(descriptor.digest)) total += descriptor.size;
    done.set(descriptor.digest, state === "reading" ? bytes : descriptor.size);
    progress.update(
      [...done.values()].reduce((sum, one) => sum + one, 0),
      total,
    );
  };
}

interface Transferred {
  readonly report: CopyReport;
  readonly referrers: readonly Descriptor[];
}

async function tell(command: string, from: string, name: string, { report, referrers }: Transferred, options: TransferOptions, { io }: Context): Promise<void> {
  const { descriptor, copied, mounted, present, bytes } = report;
  const { digest, size, mediaType } = descriptor;
  if (options.json) {
    await printJson(io, { command, source: from, target: { name, digest, size, mediaType }, blobs: { copied, mounted, present, bytes }, referrers });
  } else if (!options.quiet) {
    const counts = [`${copied} copied`, ...(mounted > 0 ? [`${mounted} mounted`] : []), ...(present > 0 ? [`${present} already there`] : [])];
    for (const one of referrers) await printLine(io, `  referrer ${one.digest}  ${one.artifactType ?? "(no type)"}`);
    await printLine(io, `${digest}  ${name}  (blobs: ${counts.join(", ")}; ${formatBytes(bytes)})`);
  }
}
