import { openFile, statPath } from "@imgkit/bytes/node";
import { DiskError, detectFileSystem } from "@imgkit/disk";

const USTAR_AT = 257;

/** Whether a path names an image of a file system rather than a tar or a directory. */
export async function isFileSystemImage(path: string): Promise<boolean> {
  if (statPath(path)?.isFile() !== true) return false;
  const file = openFile(path);
  try {
    // A file in a tar can stand where a file system has its magic number: what says that it is a tar is one.
    const magic = await file.read(Math.min(file.size, USTAR_AT), Math.min(file.size, USTAR_AT + 5));
    if (new TextDecoder().decode(magic) === "ustar") return false;
    await detectFileSystem(file);
    return true;
  } catch (error) {
    if (error instanceof DiskError && error.code === "UNKNOWN_FILE_SYSTEM") return false;
    throw error;
  } finally {
    file.close();
  }
}
