// Small images in memory, for tests that move them.
import { collect, streamSource } from "@imgkit/bytes";
import { nodeNetwork } from "../../src/index.node.ts";
import {
  addLayer,
  type BlobStore,
  buildImage,
  createRegistryClient,
  type Descriptor,
  type ImageSource,
  memoryBlobs,
  parsePlatform,
  type RegistryOptions,
} from "../../src/index.ts";
import { EPOCH } from "../support.ts";
import type { TestRegistry } from "./test-registry.ts";

export interface MemoryImage {
  readonly source: ImageSource;
  readonly blobs: BlobStore;
  readonly root: Descriptor;
  /** Of the layer, which is the largest blob. */
  readonly layer: Descriptor;
}

/** An image of one layer of about `size` bytes that do not compress. */
export async function memoryImage(size: number = 3000, platform: string = "linux/amd64"): Promise<MemoryImage> {
  const blobs = memoryBlobs();
  const tar = new Uint8Array(Math.ceil(size / 512) * 512 + 1024);
  // A header would do; a block of zeros is a valid start, and the rest is noise that only the digest sees.
  for (let i = 1024, state = size + platform.length; i < tar.length; i++) {
    state = (state * 1103515245 + 12345) & 0x7fffffff;
    tar[i] = state >> 16;
  }
  const layer = await addLayer(blobs, [tar], { compression: "none" });
  const { descriptor: root } = await buildImage(blobs, { layers: [layer], platform: parsePlatform(platform), epoch: EPOCH });
  return { source: { blobs, resolve: async () => root }, blobs, root, layer: layer.descriptor };
}

/** Node's network in which time passes a hundred times as fast. */
export function fastNetwork(): ReturnType<typeof nodeNetwork> {
  const network = nodeNetwork();
  return { ...network, now: () => network.now() * 100, sleep: (milliseconds, signal) => network.sleep(milliseconds / 100, signal) };
}

/** A client that has all its patience in a hundredth of the time. */
export function fastClient(options: Partial<RegistryOptions> = {}): ReturnType<typeof createRegistryClient> {
  // On a machine that has much else to do a stall of a minute, which is 0.6 s here, may be nobody's fault.
  return createRegistryClient({ network: fastNetwork(), ...options, patience: { stallTimeout: 1_000_000, ...options.patience } });
}

/** Puts an image into a registry's shelves, without HTTP. */
export async function stock(registry: TestRegistry, repository: string, image: MemoryImage, tag: string): Promise<void> {
  const read = async (digest: string): Promise<Uint8Array> => collect(streamSource(await image.blobs.open(digest)));
  const bytes = await read(image.root.digest);
  const { config, layers } = JSON.parse(new TextDecoder().decode(bytes));
  for (const { digest } of [config, ...layers]) registry.addBlob(repository, await read(digest));
  registry.addManifest(repository, image.root.mediaType, bytes, tag);
}
