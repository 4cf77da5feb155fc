import type { Tree } from "@imgkit/core";
import { type BlobStore, type ExtendOptions, extendImage, type Image, type LoadedImage, type Platform } from "@imgkit/oci";
import type { Io } from "../io.ts";
import type { RecordedFile } from "../record.ts";
import type { RegistryFlags } from "./flags.ts";
import { loadPlacedImage, openImagePlace, recordedImage, treeOfImage } from "./source.ts";

/** The image that another one is built on. */
export interface Base {
  readonly image: LoadedImage;
  readonly recorded: RecordedFile;
  /** Its tree; every layer is verified. Freed by `close`. */
  tree(): Promise<{ readonly tree: Tree; readonly findings: readonly string[] }>;
  /** Writes an image with the base's layers below its own. */
  extend(store: BlobStore, options: ExtendOptions): Promise<Image>;
  close(): void;
}

/** Opens a base; of one for several platforms, that for `platform`. */
export async function openBase(x: string, platform: Platform | undefined, flags: RegistryFlags, io: Io): Promise<Base> {
  const place = await openImagePlace(x, flags, io);
  const closers = [() => place.close()];
  const close = (): void => {
    for (const one of closers.splice(0)) one();
  };
  try {
    const image = await loadPlacedImage(place, platform);
    return {
      image,
      recorded: recordedImage(x, image),
      async tree() {
        const opened = await treeOfImage(place, image, io);
        closers.push(opened.close);
        return opened;
      },
      extend: (store, options) => extendImage(store, place.layout.blobs, image, options),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
