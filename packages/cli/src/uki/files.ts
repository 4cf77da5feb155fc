import { readFileSync } from "node:fs";
import { type ByteSource, streamSource } from "@imgkit/bytes";
import { type FileSource, openFile, statPath } from "@imgkit/bytes/node";
import type { Context } from "../context.ts";
import { type Digested, digestSource } from "../digest.ts";
import { CliError } from "../errors.ts";
import type { OutputOptions, RecordOptions } from "../options.ts";
import { checkSideOutputs, claimStandardOutput, outputName, writeOutput } from "../outputs.ts";
import { type RecordedFile, writeRecord } from "../record.ts";

/** Keys, certificates, signatures and texts are small; what is not is another file. */
const SMALL = 1 << 20;

/** The inputs of one run: opened once, closed together, named in the record. */
export interface Inputs {
  /** A file that is read where and when its bytes are wanted. */
  open(path: string): FileSource;
  /** A small file, whole. */
  read(path: string): Uint8Array;
  recorded(): Promise<RecordedFile[]>;
  close(): void;
}

export function createInputs(): Inputs {
  const opened = new Map<string, FileSource>();
  const open = (path: string): FileSource => {
    const file = opened.get(path) ?? openFile(path);
    opened.set(path, file);
    return file;
  };
  return {
    open,
    read(path) {
      const bytes = readSmall(path);
      open(path);
      return bytes;
    },
    async recorded() {
      const files: RecordedFile[] = [];
      for (const [name, file] of opened) files.push({ name, kind: "file", ...(await digestSource(file)) });
      return files;
    },
    close() {
      for (const file of opened.values()) file.close();
    },
  };
}

/** A small file, whole; not named in any record, as keys must not be. */
export function readSmall(path: string): Uint8Array {
  const size = statPath(path)?.size ?? 0;
  if (size > SMALL) throw new CliError("USAGE", "not a file of that kind", { path, expected: `at most ${SMALL} bytes`, found: `${size}` });
  // The error for a path without a file is that of every other input.
  openFile(path).close();
  return new Uint8Array(readFileSync(path));
}

export interface WriteOptions extends OutputOptions, RecordOptions {
  readonly output: string;
}

/** Looks at the outputs of a run before its work begins. */
export function checkOutputs(options: WriteOptions, context: Context): void {
  const output = outputName(options.output);
  claimStandardOutput("the image", output, options, context);
  if (output !== "-") checkSideOutputs(output, { "--record": options.record });
}

/** Writes the image and the record. */
export async function writeImage(command: string, image: ByteSource, inputs: Inputs, options: WriteOptions, context: Context): Promise<Digested> {
  // Before the output is in its place, which may be that of an input.
  const before = options.record === undefined ? [] : await inputs.recorded();
  const written = await writeOutput(streamSource(image, 1 << 20), outputName(options.output), context.io);
  if (options.record !== undefined) {
    const outputs = [{ name: options.output, kind: "file" as const, ...written }];
    await writeRecord(options.record, { command, arguments: context.argv, epoch: undefined, inputs: before, outputs });
  }
  return written;
}
