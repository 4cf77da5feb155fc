// Signatures as cosign leaves them: an image under the tag `sha256-HEX.sig`, a layer a signature (sigstore/cosign, SIGNATURE_SPEC.md).
import { readBlob } from "../blobs.ts";
import { parseManifest } from "../check.ts";
import { parseDigest } from "../digest.ts";
import { OciError } from "../errors.ts";
import { MAX_DOCUMENT, parseJson } from "../json-read.ts";
import { mediaRole } from "../media.ts";
import type { ImageSource } from "../registry/medium.ts";
import { isObject } from "../shape.ts";
import type { Descriptor } from "../types.ts";

const SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";

/** A signature that was found. Nothing about it has been verified but that its payload is the blob that the manifest names. */
export interface FoundSignature {
  readonly descriptor: Descriptor;
  /** What was signed, to the byte. */
  readonly payload: Uint8Array;
  /** The digest that the payload says the signature is for; undefined when it says none. */
  readonly claims: string | undefined;
  /** Base64. */
  readonly signature: string;
  /** PEM, of a signature without a long-lived key. */
  readonly certificate?: string;
  readonly chain?: string;
  /** Rekor's bundle, as JSON. */
  readonly bundle?: string;
}

/** The tag of what cosign keeps about an image: `sha256-HEX.sig`, `.att` for attestations, `.sbom`. @throws OciError BAD_DIGEST */
export function cosignTag(digest: string, kind: "sig" | "att" | "sbom"): string {
  const { algorithm, hex } = parseDigest(digest);
  return `${algorithm}-${hex}.${kind}`;
}

/**
 * The signatures that cosign has left for a manifest or index; none where there is no such tag.
 * @throws OciError BLOB_MISMATCH, BAD_DOCUMENT and what the medium throws; MEDIA_TYPE_MISMATCH when the tag is no manifest.
 */
export async function cosignSignatures(source: ImageSource, digest: string): Promise<readonly FoundSignature[]> {
  let root: Descriptor;
  try {
    root = await source.resolve(cosignTag(digest, "sig"));
  } catch (error) {
    if (error instanceof OciError && error.code === "NO_SUCH_IMAGE") return [];
    throw error;
  }
  if (mediaRole(root.mediaType) !== "manifest") {
    throw new OciError("MEDIA_TYPE_MISMATCH", "signatures stand in a manifest", { path: root.digest, found: root.mediaType });
  }
  const { layers } = parseManifest(await readBlob(source.blobs, root, { maxSize: MAX_DOCUMENT }), { path: root.digest, mediaType: root.mediaType });
  const found: FoundSignature[] = [];
  for (const descriptor of layers) {
    const { mediaType, annotations = {} } = descriptor;
    const signature = annotations["dev.cosignproject.cosign/signature"];
    if (mediaType !== SIMPLE_SIGNING || signature === undefined) continue;
    const payload = await readBlob(source.blobs, descriptor, { maxSize: MAX_DOCUMENT });
    const part = (key: string): string | undefined => annotations[`dev.sigstore.cosign/${key}`];
    const [certificate, chain, bundle] = [part("certificate"), part("chain"), part("bundle")];
    found.push({
      descriptor,
      payload,
      claims: claimed(payload, descriptor.digest),
      signature,
      ...(certificate === undefined ? {} : { certificate }),
      ...(chain === undefined ? {} : { chain }),
      ...(bundle === undefined ? {} : { bundle }),
    });
  }
  return found;
}

/** `critical.image.docker-manifest-digest` of a simple signing payload. */
function claimed(payload: Uint8Array, path: string): string | undefined {
  let at = parseJson(payload, { path });
  for (const key of ["critical", "image", "docker-manifest-digest"]) {
    if (!isObject(at)) return undefined;
    at = at[key] ?? null;
  }
  return typeof at === "string" ? at : undefined;
}
