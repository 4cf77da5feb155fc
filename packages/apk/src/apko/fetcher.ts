import type { ByteSource } from "@imgkit/bytes";

/** Bytes that can be let go. */
export interface OpenedFile extends ByteSource {
  /** Says that it is not what it should be: who keeps it forgets it. */
  reject?(): void;
  close(): void;
}

export interface OpenOptions {
  /** The most bytes that the file can have, where that is known: an endless body ends there. */
  readonly maxSize?: number;
}

/** Where files are fetched from. `place` is as the configuration or lock names it, `name` is relative to it, or empty. */
export interface Fetcher {
  /** @throws ApkError REPOSITORY_FAILED when it is larger; that, or BytesError NOT_FOUND, when it is not to be had. */
  open(place: string, name: string, options?: OpenOptions): Promise<OpenedFile>;
}

const MAX_TEXT = 1 << 16;

/** What a file of text holds. @throws ApkError REPOSITORY_FAILED for one of more than 64 KiB. */
export async function readText(fetcher: Fetcher, place: string): Promise<string> {
  const file = await fetcher.open(place, "", { maxSize: MAX_TEXT });
  try {
    return new TextDecoder().decode(await file.read(0, file.size));
  } finally {
    file.close();
  }
}
