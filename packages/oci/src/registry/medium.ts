// Where images are read from and written to, whatever the medium: a registry, a layout, memory.
import type { BlobId, BlobReader } from "../blobs.ts";
import type { Descriptor } from "../types.ts";

/** Where images can be read. */
export interface ImageSource {
  /** Everything by its digest, documents too. */
  readonly blobs: BlobReader;
  /**
   * The descriptor of a manifest or index, by tag or digest; without a name, of what the medium has when nothing is named.
   * @throws OciError NO_SUCH_IMAGE, AMBIGUOUS_REFERENCE.
   */
  resolve(name?: string): Promise<Descriptor>;
}

/** How what is copied is known at its target: by a tag, or by its digest alone. */
export interface RootName {
  readonly tag?: string;
}

/** Where images can be written. A document goes after everything that it names. */
export interface ImageTarget {
  has(descriptor: Descriptor): Promise<boolean>;
  /**
   * Takes a blob from a source, verified while it streams. `onRead` is told how many bytes of it have been read.
   * @throws OciError BLOB_MISMATCH: nothing is kept.
   */
  putBlob(blob: BlobId, from: ImageSource, onRead?: (done: number) => void): Promise<"copied" | "mounted">;
  /** Takes the verified bytes of a manifest or index. `root` is given with what the caller names: under its tag, or without one. */
  putManifest(descriptor: Descriptor, bytes: Uint8Array, root?: RootName): Promise<void>;
}
