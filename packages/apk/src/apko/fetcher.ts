import type { ByteSource } from "@imgkit/bytes";

/** Bytes that can be let go. */
export interface OpenedFile extends ByteSource {
  close(): void;
}

/** Where files are fetched from. `place` is as the configuration or lock names it, `name` is relative to it, or empty. */
export interface Fetcher {
  /** @throws ApkError REPOSITORY_FAILED, BytesError NOT_FOUND when it is not to be had. */
  open(place: string, name: string): Promise<OpenedFile>;
}

/** What a file of text holds, up to 64 KiB. */
export async function readText(fetcher: Fetcher, place: string): Promise<string> {
  const file = await fetcher.open(place, "");
  try {
    return new TextDecoder().decode(await file.read(0, Math.min(file.size, 1 << 16)));
  } finally {
    file.close();
  }
}
