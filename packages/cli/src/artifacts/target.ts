import { type Artifact, type BlobSink, type Descriptor, layoutTarget, pushReferrer } from "@imgkit/oci";
import { createLayout, splitLayoutReference } from "@imgkit/oci/node";
import { CliError } from "../errors.ts";
import { isRemote, referenceOf, registryClient } from "../images/client.ts";
import type { RegistryFlags } from "../images/flags.ts";
import { openImagePlace } from "../images/source.ts";
import { type Io, printJson, printLine } from "../io.ts";
import type { OutputOptions } from "../options.ts";

/** Where an artifact goes. */
export interface ArtifactTarget {
  readonly name: string;
  readonly tag: string | undefined;
  readonly blobs: BlobSink;
  resolve(subject: string): Promise<Descriptor>;
  finish(artifact: Artifact, tag: string | undefined): Promise<void>;
  abort(): void;
}

/** Opens `docker://NAME[:TAG]` or `oci:DIR[:TAG]`. */
export async function openArtifactTarget(x: string, flags: RegistryFlags, io: Io): Promise<ArtifactTarget> {
  if (isRemote(x)) {
    const repository = registryClient(flags, io).repository(referenceOf(x));
    const { registry, repository: path, tag } = repository.reference;
    return {
      name: `docker://${registry}/${path}`,
      tag,
      blobs: repository.blobs,
      resolve: (subject) => repository.resolve(subject),
      async finish({ descriptor, manifest, bytes }, wanted) {
        const root = wanted === undefined ? {} : { tag: wanted };
        if (manifest.subject === undefined) await repository.putManifest(descriptor, bytes, root);
        else await pushReferrer(repository, descriptor, bytes, root);
      },
      abort() {},
    };
  }
  if (!x.startsWith("oci:")) throw new CliError("UNKNOWN_KIND", "not a place for an artifact", { path: x, expected: "docker://NAME[:TAG] or oci:DIR[:TAG]" });
  const { path, tag } = splitLayoutReference(x.slice("oci:".length));
  const writer = await createLayout(path);
  return {
    name: `oci:${path}`,
    tag,
    blobs: writer.blobs,
    async resolve(subject) {
      const place = await openImagePlace(`oci:${path}:${subject}`, flags, io);
      place.close();
      return place.descriptor;
    },
    async finish({ descriptor, bytes }, wanted) {
      await layoutTarget(writer).putManifest(descriptor, bytes, wanted === undefined ? {} : { tag: wanted });
      await writer.commit();
    },
    abort: () => writer.abort(),
  };
}

/** Says what was put where. */
export async function tellArtifact(command: string, name: string, { descriptor, manifest }: Artifact, options: OutputOptions, io: Io): Promise<void> {
  const { digest, size, artifactType } = descriptor;
  if (options.json) {
    const layers = manifest.layers.map(({ mediaType, digest: d, size: s, annotations }) => ({
      mediaType,
      digest: d,
      size: s,
      title: annotations?.["org.opencontainers.image.title"],
    }));
    await printJson(io, {
      command,
      target: { name, digest, size },
      artifactType,
      files: layers,
      ...(manifest.subject === undefined ? {} : { subject: manifest.subject }),
    });
  } else if (!options.quiet) await printLine(io, `${digest}  ${name}  (${artifactType ?? manifest.config.mediaType})`);
}
