import { writeFileAtomic } from "@imgkit/bytes/node";
import type { Digested } from "./digest.ts";
import { version } from "./version.ts";

/** An input or output by name; the name is the one given on the command line. */
export interface RecordedFile extends Digested {
  readonly name: string;
  /** What the digest is of. */
  readonly kind: "file" | "tree" | "stream" | "manifest" | "disk";
  /** What else someone needs to have the same input again: the version of the tool that made it, for one. */
  readonly tool?: string;
}

/** What it takes to run a command again and compare. It holds no clock: the same run gives the same record. */
export interface BuildRecord {
  readonly command: string;
  /** As they stood on the command line, after `imgkit`. */
  readonly arguments: readonly string[];
  /** Seconds since 1970. */
  readonly epoch: number | undefined;
  readonly inputs: readonly RecordedFile[];
  readonly outputs: readonly RecordedFile[];
}

export const RECORD_SCHEMA = "imgkit.record/1";

export async function writeRecord(path: string, record: BuildRecord): Promise<void> {
  const document = { schema: RECORD_SCHEMA, imgkit: version(), ...record };
  await writeFileAtomic(path, [new TextEncoder().encode(`${JSON.stringify(document, null, 2)}\n`)]);
}
