import { basename } from "node:path";
import { streamSource } from "@imgkit/bytes";
import { type FileSource, openFile } from "@imgkit/bytes/node";
import { buildArtifact } from "@imgkit/oci";
import { nodeEngines } from "@imgkit/oci/node";
import type { Context } from "../context.ts";
import type { RegistryFlags } from "../images/flags.ts";
import type { OutputOptions } from "../options.ts";
import { openArtifactTarget, tellArtifact } from "./target.ts";

export interface PushOptions extends OutputOptions, RegistryFlags {
  readonly artifactType?: string;
  readonly subject?: string;
  readonly annotation?: Readonly<Record<string, string>>;
}

export async function pushArtifact(x: string, names: readonly string[], options: PushOptions, { io }: Context): Promise<void> {
  const target = await openArtifactTarget(x, options, io);
  const opened: FileSource[] = [];
  try {
    const subject = options.subject === undefined ? undefined : await target.resolve(options.subject);
    const files = names.map((name) => {
      const [, path = name, mediaType] = /^(.+):([a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*)$/i.exec(name) ?? [];
      const file = openFile(path);
      opened.push(file);
      return { content: streamSource(file), title: basename(path), ...(mediaType === undefined ? {} : { mediaType }) };
    });
    const { artifactType, annotation } = options;
    const artifact = await buildArtifact(target.blobs, {
      files,
      sha256: nodeEngines.sha256,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(subject === undefined ? {} : { subject }),
      ...(annotation === undefined ? {} : { annotations: annotation }),
    });
    await target.finish(artifact, target.tag);
    await tellArtifact("artifact push", `${target.name}${target.tag === undefined ? "" : `:${target.tag}`}`, artifact, options, io);
  } finally {
    for (const file of opened) file.close();
    target.abort();
  }
}
