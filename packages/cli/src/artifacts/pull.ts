import { dirname, join } from "node:path";
import { streamSource } from "@imgkit/bytes";
import { createOutput, createOutputFolder, makeFolder } from "@imgkit/bytes/node";
import { artifactFiles, type BlobReader, createDigester, type Descriptor, MAX_DOCUMENT, OciError, parseDigest, parseManifest, readBlob } from "@imgkit/oci";
import { nodeEngines } from "@imgkit/oci/node";
import type { Context } from "../context.ts";
import type { RegistryFlags } from "../images/flags.ts";
import { openImagePlace } from "../images/source.ts";
import { printJson, printLine } from "../io.ts";
import type { OutputOptions } from "../options.ts";
import { formatBytes } from "../progress.ts";
import { pacedStream } from "../turns.ts";

export async function pullArtifact(x: string, folder: string, options: OutputOptions & RegistryFlags, { io }: Context): Promise<void> {
  const place = await openImagePlace(x, options, io);
  try {
    const { blobs } = place.source;
    const { descriptor } = place;
    const manifest = parseManifest(await readBlob(blobs, descriptor, { maxSize: MAX_DOCUMENT }), { path: descriptor.digest, mediaType: descriptor.mediaType });
    const output = createOutputFolder(folder);
    const written: { path: string; digest: string; size: number; mediaType: string }[] = [];
    try {
      for (const { title, descriptor: file } of artifactFiles(manifest)) {
        const path = title ?? file.digest.slice(file.digest.indexOf(":") + 1);
        const place = join(output.temporary, path);
        makeFolder(dirname(place));
        await fetchFile(blobs, file, place);
        written.push({ path, digest: file.digest, size: file.size, mediaType: file.mediaType });
      }
      output.commit();
    } finally {
      output.abort();
    }
    if (options.json)
      await printJson(io, {
        command: "artifact pull",
        target: x,
        digest: descriptor.digest,
        artifactType: manifest.artifactType ?? manifest.config.mediaType,
        files: written,
      });
    else if (!options.quiet)
      for (const file of written) await printLine(io, `${file.digest}  ${join(folder, file.path)}  (${formatBytes(file.size)}, ${file.mediaType})`);
  } finally {
    place.close();
  }
}

/** Writes a blob, and keeps it only if it has its digest. */
async function fetchFile(blobs: BlobReader, { digest, size }: Descriptor, path: string): Promise<void> {
  const source = await blobs.open(digest);
  try {
    const file = createOutput(path);
    try {
      const hash = createDigester(parseDigest(digest).algorithm, nodeEngines.sha256);
      for await (const chunk of pacedStream(streamSource(source))) {
        hash.update(chunk);
        file.append(chunk);
      }
      const found = hash.digest();
      if (found !== digest || source.size !== size) {
        throw new OciError("BLOB_MISMATCH", "a file is not what the manifest says", {
          path: digest,
          expected: `${size} bytes`,
          found: `${found}, ${source.size} bytes`,
        });
      }
      file.commit();
    } finally {
      file.abort();
    }
  } finally {
    source.close();
  }
}
