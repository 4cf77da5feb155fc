import { ImgkitError } from "@imgkit/bytes";

export type DiskErrorCode =
  /** An argument that no image can be made with (a UUID, an epoch, a name). */
  | "BAD_OPTION"
  /** A value of a tree that EROFS cannot hold. */
  | "EROFS_LIMIT"
  /** Not an EROFS image, or one whose structures contradict each other or point outside of it. */
  | "EROFS_CORRUPT"
  /** An EROFS image with a feature that is not read here (compression, chunks, other devices). */
  | "EROFS_UNSUPPORTED"
  /** Not a PE image, or one whose structures contradict each other or point outside of it. */
  | "PE_CORRUPT"
  /** A PE image of a kind that is not read, extended or signed here. */
  | "PE_UNSUPPORTED"
  /** A value that a PE image cannot hold. */
  | "PE_LIMIT"
  /** A value of a tree that FAT cannot hold, or a tree that does not fit a file system of the given size. */
  | "FAT_LIMIT"
  /** Not a FAT file system, or one whose structures contradict each other or point outside of it. */
  | "FAT_CORRUPT"
  /** A kernel image whose header points outside of it. */
  | "KERNEL_CORRUPT"
  /** A part that no unified kernel image can be made with: a kernel for another machine, a command line that Linux cuts. */
  | "UKI_INPUT"
  /** A value of a tree that a cpio archive cannot hold. */
  | "CPIO_LIMIT"
  /** Not a cpio archive, or one that contradicts itself or is cut short. */
  | "CPIO_CORRUPT"
  /** A tree that no initrd can be made of: a program, library or kernel module is missing. */
  | "INITRD_MISSING"
  /** A disk that a container cannot hold. */
  | "CONTAINER_LIMIT"
  /** Not a container of that kind, or one whose structures contradict each other or point outside of it. */
  | "CONTAINER_CORRUPT"
  /** A container with a feature that is not read here (a backing file, encryption), named in the message. */
  | "CONTAINER_UNSUPPORTED"
  /** A content that gave other bytes or another size than it promised. */
  | "CONTENT_CHANGED"
  /** Neither EROFS nor squashfs nor ext4. */
  | "UNKNOWN_FILE_SYSTEM"
  /** A file system larger than the file it stands in. */
  | "FILE_SYSTEM_TRUNCATED"
  /** A disk of which nobody can say which partition its root is. */
  | "NO_ROOT"
  /** A path at which an image has no regular file. */
  | "NO_SUCH_FILE"
  /** A disk that cannot be laid out: nothing to put on it, or larger than its format. */
  | "DISK_LIMIT";

/** The one error class of `@imgkit/disk`. */
export class DiskError extends ImgkitError<DiskErrorCode> {}
