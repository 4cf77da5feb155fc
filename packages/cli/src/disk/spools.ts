import type { ByteSource, ByteStream } from "@imgkit/bytes";
import { type SpooledSource, spoolStream } from "@imgkit/core/node";
import { pacedStream } from "../turns.ts";

/** Temporary files that streams are kept in, until `close`. */
export interface Spools {
  spool(stream: ByteStream): Promise<ByteSource>;
  close(): void;
}

export function createSpools(folder: string): Spools {
  const open: SpooledSource[] = [];
  return {
    async spool(stream) {
      const kept = await spoolStream(pacedStream(stream), folder);
      open.push(kept);
      return kept;
    },
    close() {
      for (const kept of open) kept.close();
    },
  };
}
