import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BytesError } from "@imgkit/bytes";
import { checkTag, formatReference, type ImageTarget, layoutTarget, parseReference, type RegistryClient, referenceTarget, writeArchive } from "@imgkit/oci";
import { createLayout, nodeEngines, openLayout, splitLayoutReference } from "@imgkit/oci/node";
import { CliError } from "../errors.ts";
import type { Io } from "../io.ts";
import { checkRegularOutput, writeOutput } from "../outputs.ts";
import { isRemote, referenceOf } from "./client.ts";

/** What skopeo writes to and imgkit does not, and what is read only: `DIR:TAG` may begin with any other word. */
const otherTransports = /^(apko|containers-storage|dir|docker|docker-daemon|mmdebstrap|ostree|sif|tarball):/;

/** Where an image goes. */
export interface OpenedTarget {
  /** As a user would name what was written. */
  readonly name: string;
  readonly target: ImageTarget;
  readonly tag: string | undefined;
  /** Makes what was written appear. */
  finish(): Promise<void>;
  abort(): void;
}

/**
 * Opens a place to write to: `docker://REF`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE:NAME:TAG`, or a folder.
 * Without a tag of its own it takes the source's.
 */
export async function openImageTarget(x: string, sourceTag: string | undefined, client: RegistryClient, io: Io): Promise<OpenedTarget> {
  if (isRemote(x)) return openRepository(referenceOf(x), sourceTag, client);
  const [, archive, reference = ""] = /^(oci-archive|docker-archive):(.*)$/s.exec(x) ?? [];
  if (archive !== undefined) return openArchive(archive as "oci-archive" | "docker-archive", reference, sourceTag, io);
  if (otherTransports.test(x)) {
    throw new CliError("UNKNOWN_KIND", "not a place that images are written to", {
      path: x,
      expected: "docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE:NAME:TAG",
    });
  }
  const { path, tag = sourceTag ?? "latest" } = splitLayoutReference(x.replace(/^oci:/, ""));
  const writer = await createLayout(path);
  return { name: `oci:${path}:${tag}`, target: layoutTarget(writer), tag, finish: () => writer.commit(), abort: () => writer.abort() };
}

function openRepository(text: string, sourceTag: string | undefined, client: RegistryClient): OpenedTarget {
  const repository = client.repository(text);
  const { reference } = repository;
  if (reference.digest !== undefined) {
    throw new CliError("USAGE", "an image cannot be put under a digest: it has one of its own", { path: text, hint: "Name a tag, or nothing." });
  }
  const tag = reference.tag ?? (sourceTag !== undefined && /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(sourceTag) ? sourceTag : referenceTarget(reference));
  const name = `docker://${reference.registry}/${reference.repository}:${tag}`;
  return { name, target: repository, tag, finish: async () => {}, abort() {} };
}

/** An archive is written from a layout in the temporary folder, once that is whole. */
async function openArchive(kind: "oci-archive" | "docker-archive", reference: string, sourceTag: string | undefined, io: Io): Promise<OpenedTarget> {
  const colon = reference.indexOf(":", /^[A-Za-z]:[\\/]/.test(reference) ? 2 : 0);
  const path = colon < 0 ? reference : reference.slice(0, colon);
  const given = colon < 0 ? undefined : reference.slice(colon + 1);
  if (kind === "docker-archive" && given === undefined) {
    throw new CliError("USAGE", "a docker-archive needs a name for its image", { path: reference, hint: "Write docker-archive:FILE:NAME:TAG." });
  }
  checkRegularOutput(path);
  const tag = kind === "oci-archive" ? (given ?? sourceTag ?? "latest") : wholeName(given ?? "");
  const folder = temporaryFolder(io);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const layout = join(folder, "layout");
  const writer = await createLayout(layout);
  return {
    name: `${kind}:${path}:${given ?? tag}`,
    target: layoutTarget(writer),
    tag,
    async finish() {
      await writer.commit();
      const names = given !== undefined && kind === "docker-archive" ? { repoTags: [given.includes(":") ? given : `${given}:latest`] } : {};
      // The entries' times are those of nothing: 1970.
      await writeOutput(writeArchive(await openLayout(layout), { epoch: 0, tag, sha256: nodeEngines.sha256, ...names }), path, io);
      remove();
    },
    abort() {
      writer.abort();
      remove();
    },
  };
}

function temporaryFolder({ temporary }: Io): string {
  try {
    return mkdtempSync(join(temporary, "imgkit-archive-"));
  } catch (cause) {
    const hint = "Point TMPDIR at a folder with enough space.";
    throw new BytesError("OUTPUT_FAILED", `a temporary folder cannot be made: ${(cause as Error).message}`, { path: temporary, cause, hint }, "system");
  }
}

/** What podman calls the image: it takes our docker-archive for the layout that it is as well, and its name from there. */
function wholeName(name: string): string {
  try {
    return checkTag(formatReference(parseReference(name)));
  } catch {
    // Not every name of Docker's is one of a layout; a name that is none at all is refused where the archive is written.
    return "latest";
  }
}
