import { openFile } from "@imgkit/bytes/node";
import { type Compression, detectCompression } from "@imgkit/compress";
import { writeTar } from "@imgkit/core";
import { type LayerCompression, layerCompression, parsePlatform, parseTime, type RecomputedLayer, recomputeLayer } from "@imgkit/oci";
import { nodeEngines } from "@imgkit/oci/node";
import type { Context } from "../context.ts";
import { digestSource } from "../digest.ts";
import { epochOf } from "../epoch.ts";
import { CliError } from "../errors.ts";
import { type LayerTree, partsOf } from "../images/parts.ts";
import { loadPlacedImage, openImagePlace } from "../images/source.ts";
import type { Io } from "../io.ts";
import type { Target } from "../kind.ts";
import { prepareSource } from "../prepare.ts";
import type { Progress } from "../progress.ts";
import { pacedStream } from "../turns.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

// --from SOURCE: the tar, or each layer of the image, made anew from what it is said to be made of. What a config states beside
// its layers (a command, an environment) no source can tell: that is the publisher's word, and the verdict says so.

/** A tar or layer that was published, and the source that it is said to come from. */
interface Claim {
  readonly source: string;
  readonly digest: string;
  readonly diffId?: string;
  readonly compression: LayerCompression;
}

/** @throws CliError USAGE for another number of sources than the image has layers. */
export async function rebuild(target: Target, from: readonly string[], options: VerifyOptions, context: Context, progress: Progress): Promise<Outcome> {
  const { claims, epoch, epochFrom } = await claimsOf(target, from, options, context);
  const made: (Claim & RecomputedLayer)[] = [];
  const onProgress = (bytes: number): void => progress.update(bytes);
  for (const [i, spec] of from.entries()) {
    const source = await prepareSource(spec, options, epoch, context.io, progress);
    try {
      const own = from.length === 1 ? claims : claims.slice(i, i + 1);
      const parts = await partsOf(source.tree, { times: options.times }, epoch, source.layersOf);
      if (parts.length !== own.length) throw otherCount(target.path, `${own.length} ${own.length === 1 ? "layer" : "layers"}`, `${parts.length}, of ${spec}`);
      for (const [k, claim] of own.entries()) {
        const { tree, epoch: time } = parts[k] as LayerTree;
        const { diffId, ...result } = await recomputeLayer(() => pacedStream(writeTar(tree, { epoch: time, onProgress })), claim, nodeEngines);
        made.push({ ...claim, ...result, diffId });
      }
    } finally {
      source.close();
    }
  }
  const about = target.kind === "layout" ? "; what the image's config states beside its layers is its publisher's word" : "";
  return {
    ok: made.every(({ ok }) => ok),
    anchor: `${from.join(", ")}, from which every ${target.kind === "layout" ? "layer" : "byte"} was made anew${about}`,
    findings: made.flatMap((one, i) => differences(one, claims[i]?.diffId)),
    verified: made.filter(({ ok }) => ok).map(({ digest, source, packing }) => `${digest}  recomputed from ${source} (${packingName(packing)})`),
    details: {
      recomputed: {
        epoch,
        epochFrom,
        from: made.map(({ source, digest, diffId, ok, packing, tried }, i) => ({
          source,
          digest,
          ok,
          ...(packing === undefined ? {} : { packing }),
          claimed: claims[i]?.diffId,
          diffId,
          tried,
        })),
      },
    },
  };
}

interface Claims {
  readonly claims: readonly Claim[];
  readonly epoch: number;
  /** Who named it. */
  readonly epochFrom: string;
}

async function claimsOf(target: Target, from: readonly string[], options: VerifyOptions, { io }: Context): Promise<Claims> {
  const { path } = target;
  if (target.kind !== "layout") return tarClaim(target, from, options, io);
  const place = await openImagePlace(path, options, io);
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  const { manifest, config } = await loadPlacedImage(place, platform).finally(() => place.close());
  const [only, ...others] = from;
  // A configuration may say itself what its layers are.
  const several = others.length === 0 && only?.startsWith("apko:") === true;
  if (!several) expectSources(path, from, manifest.layers.length, "one source for each layer, the lowest first");
  const claims = manifest.layers.map(({ digest, mediaType }, i) => {
    const diffId = config.rootfs.diff_ids[i];
    return {
      source: (several ? only : from[i]) ?? "",
      digest,
      compression: layerCompression(mediaType) ?? "none",
      ...(diffId === undefined ? {} : { diffId }),
    };
  });
  const created = typeof config.created === "string" ? parseTime(config.created) : undefined;
  const given = options.epoch !== undefined || created === undefined;
  return { claims, epoch: given ? epochOf(options, io) : created, epochFrom: given ? "the caller" : "the image's config" };
}

async function tarClaim({ path }: Target, from: readonly string[], options: VerifyOptions, io: Io): Promise<Claims> {
  expectSources(path, from, 1, "one source for a tar");
  const file = openFile(path);
  try {
    const { digest } = await digestSource(file);
    const compression = tarCompression(detectCompression(await file.read(0, Math.min(16, file.size))), path);
    return { claims: from.map((source) => ({ source, digest, compression })), epoch: epochOf(options, io), epochFrom: "the caller" };
  } finally {
    file.close();
  }
}

function expectSources(path: string, from: readonly string[], count: number, expected: string): void {
  if (from.length !== count) throw otherCount(path, `${count}: ${expected}`, String(from.length));
}

function otherCount(path: string, expected: string, found: string): CliError {
  return new CliError("USAGE", "another number of sources than there is to recompute", { path, field: "--from", expected, found });
}

function tarCompression(found: Compression, path: string): LayerCompression {
  if (found === "none" || found === "gzip") return found;
  throw new CliError("USAGE", `a tar packed by ${found} cannot be recomputed: its bytes depend on the packer's version`, {
    path,
    hint: `Unpack it and verify that: ${found} -dc`,
  });
}

function packingName(packing: RecomputedLayer["packing"]): string {
  return packing === undefined || packing === "none" ? "tar/1" : `tar/1 in gzip/1, ${packing}`;
}

function differences({ source, digest, diffId, ok, tried }: Claim & RecomputedLayer, claimed: string | undefined): string[] {
  if (ok) return [];
  if (claimed === undefined || claimed !== diffId) {
    const expected = claimed ?? digest;
    const found = claimed === undefined ? tried.map((one) => one.digest).join(" or ") : diffId;
    return [`${digest}: not what ${source} gives (expected ${claimed === undefined ? "" : "diff_id "}${expected}, found ${found}); imgkit diff shows why`];
  }
  return [`${digest}: the tar in it was recomputed from ${source} (diff_id ${diffId}), but it was packed by something else than gzip/1`];
}
