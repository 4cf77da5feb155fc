import type { Tree } from "@imgkit/core";
import {
  type BlobStore,
  type Descriptor,
  type ExtendOptions,
  extendImage,
  formatPlatform,
  type Image,
  type Layout,
  type LoadedImage,
  layoutSource,
  loadImage,
  mediaRole,
  openLayoutFiles,
  type Platform,
  tagOf,
} from "@imgkit/oci";
import { directoryFiles } from "@imgkit/oci/node";
import { CliError } from "../errors.ts";
import type { Io } from "../io.ts";
import type { RecordedFile } from "../record.ts";
import type { RegistryFlags } from "./flags.ts";
import { type ImagePlace, loadPlacedImage, openImagePlace, recordedImage, treeOfImage } from "./source.ts";

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
  return baseAt(x, await openImagePlace(x, flags, io), platform, io);
}

/**
 * Opens the layout that an apko configuration builds on, for a platform: as apko has it, the first index in it or else its own list of images is
 * looked through, whatever their tags.
 */
export async function openApkoBase(path: string, platform: Platform, io: Io): Promise<Base> {
  const files = directoryFiles(path);
  const layout = await openLayoutFiles(files);
  const { manifests } = layout.index;
  const descriptor = manifests.find(({ mediaType }) => mediaRole(mediaType) === "index") ?? (await manifestFor(layout, platform, path));
  return baseAt(`oci:${path}`, { source: layoutSource(layout), layout, descriptor, tag: tagOf(descriptor), close() {} }, platform, io);
}

/** The first image of a layout that is for the platform. */
async function manifestFor({ blobs, index }: Layout, platform: Platform, path: string): Promise<Descriptor> {
  const found: string[] = [];
  for (const descriptor of index.manifests) {
    const { config } = await loadImage(blobs, descriptor);
    const { os, architecture, variant } = config;
    const other = typeof variant === "string" && platform.variant !== undefined && variant !== platform.variant;
    if (os === platform.os && architecture === platform.architecture && !other) return descriptor;
    found.push(`${os}/${architecture}`);
  }
  throw new CliError("USAGE", "the base image is for other machines", {
    path,
    expected: formatPlatform(platform),
    found: found.join(", ") || "no image at all",
  });
}

async function baseAt(x: string, place: ImagePlace, platform: Platform | undefined, io: Io): Promise<Base> {
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
