// Every claim of a layout, recomputed from its bytes: nothing that a file says about another is believed.
import { clip } from "./clip.ts";
import { splitDigest } from "./digest.ts";
import { type Engines, portableEngines } from "./engines.ts";
import type { LayoutReport, ListedImage } from "./findings.ts";
import { INDEX_FILE, LAYOUT_FILE, type LayoutEntry, type LayoutFiles, tagOf } from "./layout.ts";
import { Ledger } from "./ledger.ts";
import { mediaRole } from "./media.ts";
import type { Descriptor, ImageIndex } from "./types.ts";
import { ImageWalk } from "./verify-image.ts";

export interface VerifyOptions {
  /** The layout must list this tag, once, and for an image. */
  readonly tag?: string;
  /** The digest, known from elsewhere, that the image must have: the one under `tag`, else each. */
  readonly digest?: string;
  readonly engines?: Engines;
}

/**
 * Verifies a whole layout: `oci-layout`, `index.json`, each index, manifest, config and layer that it leads to, and each blob that
 * it does not lead to. Reports every finding.
 * @throws ImgkitError of kind system when the host fails, never for what the layout holds.
 */
export async function verifyLayout(files: LayoutFiles, options: VerifyOptions = {}): Promise<LayoutReport> {
  const ledger = new Ledger(files, options.engines ?? portableEngines);
  await ledger.document("layout", LAYOUT_FILE);
  const index = await ledger.document<ImageIndex>("index", INDEX_FILE);
  if (index !== undefined) await new ImageWalk(ledger).index(index, INDEX_FILE, 0);
  const images = (index?.manifests ?? []).map(listed);
  checkTags(ledger, images);
  checkReference(ledger, images, options);
  for (const entry of await files.list()) await checkEntry(ledger, entry);
  const { findings, verified } = ledger;
  return { ok: findings.every((finding) => finding.level === "notice"), findings, verified: [...verified.values()], images };
}

function listed(descriptor: Descriptor): ListedImage {
  const tag = tagOf(descriptor);
  return { ...(tag === undefined ? {} : { tag }), digest: descriptor.digest, mediaType: descriptor.mediaType };
}

const place = { path: INDEX_FILE, field: "$.manifests" };

function checkTags(ledger: Ledger, images: readonly ListedImage[]): void {
  const seen = new Set<string>();
  for (const { tag } of images) {
    if (tag === undefined) continue;
    if (seen.has(tag)) ledger.error("AMBIGUOUS_REFERENCE", "a tag that stands twice", place, { found: clip(tag) });
    seen.add(tag);
  }
}

function checkReference(ledger: Ledger, images: readonly ListedImage[], { tag, digest }: VerifyOptions): void {
  if (tag === undefined && digest === undefined) return;
  const wanted = images.filter((image) => tag === undefined || image.tag === tag);
  if (wanted.length === 0) {
    const found = images.map((image) => image.tag ?? image.digest).join(", ");
    ledger.error("NO_SUCH_IMAGE", "the layout does not list the image", place, { expected: tag ?? "an image", found: found === "" ? "no image" : clip(found) });
  }
  for (const image of wanted) {
    const role = mediaRole(image.mediaType);
    if (role !== "manifest" && role !== "index") ledger.error("MEDIA_TYPE_MISMATCH", "no image, but something else", place, { found: image.mediaType });
    if (digest !== undefined && image.digest !== digest) {
      ledger.error("DIGEST_UNEXPECTED", "another image than the one that was asked for", place, { expected: digest, found: image.digest });
    }
  }
}

/** Files that no descriptor led to, and things that are no files. */
async function checkEntry(ledger: Ledger, { path, type }: LayoutEntry): Promise<void> {
  if (type === "directory" || path === LAYOUT_FILE || path === INDEX_FILE) return;
  const [top, algorithm, hex, ...deeper] = path.split("/");
  const digest = `${algorithm}:${hex}`;
  if (type !== "file") ledger.error("BLOB_NOT_A_FILE", "not a regular file", { path }, { expected: "a regular file", found: type });
  else if (top !== "blobs") ledger.notice("UNKNOWN_FILE", "a file that is no part of a layout", { path });
  else if (deeper.length > 0 || splitDigest(digest) === undefined)
    ledger.error("MISNAMED_BLOB", "a blob whose name is no digest that can be recomputed", { path });
  else if (!ledger.named.has(digest)) await checkUnreferenced(ledger, digest, path);
}

async function checkUnreferenced(ledger: Ledger, digest: string, path: string): Promise<void> {
  const source = await ledger.open(path, { path });
  if (source === undefined) return;
  try {
    const found = await ledger.hash(digest, source);
    if (found === digest) ledger.notice("UNREFERENCED_BLOB", "a blob that nothing refers to", { path });
    else ledger.error("MISNAMED_BLOB", "a blob has another digest than its name", { path }, { expected: digest, found });
  } finally {
    source.close();
  }
}
