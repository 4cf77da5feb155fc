import type { ByteSource } from "@imgkit/bytes";
import type { Tree } from "@imgkit/core";
import type { ImageSettings, TreePart } from "@imgkit/oci";
import type { RecordedFile } from "./record.ts";

/** What a source says of the image that it is to become, besides its tree. */
export interface StatedImage {
  readonly settings: ImageSettings;
  readonly annotations: Readonly<Record<string, string>>;
  /** OS/ARCH */
  readonly platform: string;
  /** The folder of the layout with the image that its tree is a layer on. */
  readonly base?: string;
}

/** A SOURCE of the command line, opened. */
export interface OpenedSource {
  readonly tree: Tree;
  /** What the source held that the tree does not, a sentence each. */
  readonly findings: readonly string[];
  readonly profile: "debian" | "none";
  /** The archive that the tree was read from, where it is one and can be read again. */
  readonly tar?: { readonly bytes: ByteSource /** As it was given, compressed or not. */; readonly stored?: ByteSource };
  readonly image?: StatedImage;
  /** The layers of its tree, or of one made of it, where the source says that there are several; the lowest first. */
  readonly layersOf?: (tree: Tree) => readonly TreePart[];
  /** Its entry in a record; computing it may read the source once more. */
  recorded(): Promise<RecordedFile>;
  close(): void;
}
