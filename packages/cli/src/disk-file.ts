import { type FileSource, openFile } from "@imgkit/bytes/node";
import { type Container, DiskError, openContainer } from "@imgkit/disk";
import { CliError } from "./errors.ts";

/** A disk of the command line, in whatever it stands in. */
export interface DiskFile extends Container {
  /** The file as it is. */
  readonly file: FileSource;
  close(): void;
}

/**
 * Opens a disk: raw, or in a qcow2 or VHD, told by content. Every other file is opened as raw.
 * @throws DiskError CONTAINER_CORRUPT, CONTAINER_UNSUPPORTED; BytesError as `openFile`.
 */
export async function openDiskFile(path: string): Promise<DiskFile> {
  const file = openFile(path);
  try {
    return { file, ...(await openContainer(file)), close: () => file.close() };
  } catch (error) {
    file.close();
    if (error instanceof DiskError) throw new DiskError(error.code, error.sentence, { path, ...error.facts }, error.kind);
    throw error;
  }
}

/**
 * As `openDiskFile`, for what changes a disk.
 * @throws CliError USAGE for a disk in a container.
 */
export async function openRawDisk(path: string): Promise<FileSource> {
  const { format, file, close } = await openDiskFile(path);
  if (format === "raw") return file;
  close();
  throw new CliError("USAGE", "a disk in a container is not changed", {
    path,
    expected: "a raw disk",
    found: format,
    hint: `Take it out first (imgkit convert ${path} disk.raw), and put it back (imgkit convert disk.raw ${path}).`,
  });
}
