/** Why two trees or archives differ, and what makes them equal. */
export interface Cause {
  /** What differs, as a phrase that fits behind a number of paths. */
  readonly sentence: string;
  /** The imgkit option or the upstream fix that makes them equal, as a sentence. */
  readonly remedy: string;
}

/** All causes: code, sentence, remedy. What recognises each stands in the file that the comment names. */
export const causeTable = [
  // metadata.ts
  ["time-clamped", "times that one side has clamped to its epoch and the other has not", "Give both the same --epoch."],
  ["time-fraction", "times that one side keeps in whole seconds only", "Write that side with a format that holds nanoseconds (PAX), or use --times set."],
  ["time", "times of another build", "Use --epoch with --times clamp at or before the clamp epoch below, or --times set."],
  ["owner-zeroed", "owners that are 0:0 on one side", "Use --owner 0:0, or read that side as root (fakeroot, mmdebstrap)."],
  ["owner", "other owners", "Use --owner UID:GID, or --apply-mtree FILE with the right owners."],
  ["umask", "permission bits that a umask took away on one side", "Set umask 022 before the build, or use --apply-mtree FILE."],
  ["set-id-lost", "setuid, setgid or sticky bits on one side only", "Unpack and pack as root or under fakeroot: they are lost with the owner."],
  ["mode", "other permissions", "Use --apply-mtree FILE, or chmod in the build."],
  [
    "capability-lost",
    "file capabilities on one side only",
    "Write the tar with --xattrs --xattrs-include='*', or read the folder with getfattr installed, as root.",
  ],
  [
    "host-label",
    "labels of the building host's security modules",
    "imgkit rootfs drops them by default; else --xattr-exclude 'security.*' with what it names.",
  ],
  ["overlay-mark", "marks of overlayfs or a container store", "Use --xattr-exclude with its name; copy out of the merged mount, not out of its upper folder."],
  ["xattr", "other extended attributes", "Use --xattr-exclude or --xattr-include with their names, or --no-xattrs on both."],
  ["link-split", "names of one inode that are separate files on the other side", "Copy with cp -a, rsync -H or tar, which keep hard links."],
  ["link-text", "symbolic links with another text", "Make the link relative, or with the same text, in the build."],
  ["node-type", "paths that are another kind of node", "Look at the step that makes the path."],
  ["device-number", "devices with other numbers", "Use --apply-mtree FILE, or --profile debian, which empties /dev."],
  ["one-side-only", "paths that only one side has", "Look at the step that makes them, or at the list of packages."],

  // packages.ts
  [
    "package-version",
    "paths of Debian packages in other versions, or that one side has alone",
    "Build both from one lock (imgkit lock), or from one snapshot of the archive.",
  ],

  // ../known-paths.ts
  ["scrubbed", "paths that differ from build to build and that a profile takes out", "Use --profile debian."],
  ["ssh-host-key", "SSH host keys, made anew by each installation", "Remove /etc/ssh/ssh_host_* from the image; make them at the first boot."],
  ["random-identity", "random identities and seeds", "Remove the file from the image: it is made at the first boot."],
  ["host-network", "the building host's name or resolver", "Remove or overwrite the file at the end of the build."],
  ["build-log", "logs of the build", "Remove the log, or build with SOURCE_DATE_EPOCH set."],
  ["derived-cache", "caches that a tool derives from other files", "Remove the cache, or make it again with SOURCE_DATE_EPOCH set."],
  [
    "package-state",
    "the package manager's own records of the installation",
    "Install the same packages in the same order, from the same mirror (imgkit lock).",
  ],
  ["backup-file", "a tool's backup of a file that it changed", "Remove the backup: nothing reads it."],
  ["shadow-date", "the day of the last password change", "Set SOURCE_DATE_EPOCH for useradd and chpasswd (shadow 4.8 or newer), or chage -d."],

  // compressed.ts
  ["gzip-time", "a time in a gzip header", "Compress with gzip -n, or with SOURCE_DATE_EPOCH for the tool that wrote it."],
  ["gzip-name", "a file name in a gzip header", "Compress with gzip -n."],
  ["gzip-writer", "the level or operating system noted in a gzip header", "Compress with the same tool at the same level."],
  ["other-compression", "the same content, compressed otherwise", "Compress with the same tool, version, level and number of threads."],

  // ar.ts, zip.ts, pyc.ts, elf.ts
  ["ar-time", "dates of members of an ar archive", "Use ar D or ranlib -D (binutils with --enable-deterministic-archives)."],
  ["ar-owner", "owners or modes of members of an ar archive", "Use ar D or ranlib -D (binutils with --enable-deterministic-archives)."],
  ["zip-time", "times of entries of a zip or jar", "Use strip-nondeterminism, jar --date, or SOURCE_DATE_EPOCH with zip -X after touch."],
  ["zip-order", "entries of a zip or jar in another order", "Give zip a sorted list of files (sort | zip -@)."],
  ["zip-attributes", "modes, owners or writers of entries of a zip or jar", "Use zip -X and the same umask."],
  [
    "pyc-time",
    "times of sources in Python caches",
    "Use python -m compileall --invalidation-mode unchecked-hash, or SOURCE_DATE_EPOCH, or leave __pycache__ out.",
  ],
  ["pyc-mode", "Python caches of another kind of invalidation", "Use one --invalidation-mode on both: unchecked-hash."],
  ["pyc-version", "Python caches of another version of Python", "Compile with the same python."],
  [
    "pyc-marshal",
    "Python caches whose reference marks differ and code does not",
    "Compile each file in a fresh process with PYTHONHASHSEED=0, or leave __pycache__ out.",
  ],
  ["elf-build-id", "build ids of ELF files", "They follow from what else differs at the build; alone, link with --build-id=sha1 rather than uuid."],
  ["elf-debug", "debug sections or links to them in ELF files", "Build in one path, or with -ffile-prefix-map=$PWD=., or strip --strip-unneeded."],

  // text.ts
  ["embedded-date", "dates or times in text", "Set SOURCE_DATE_EPOCH for the tool that writes it (__DATE__, pod2man, sphinx, doxygen, javadoc …)."],
  ["embedded-path", "the path of the build in text", "Build in one path, or with -ffile-prefix-map=$PWD=. (BUILD_PATH_PREFIX_MAP)."],
  ["embedded-id", "hashes or random ids in text", "They follow from what else differs, or the tool takes a seed."],
  ["line-order", "the same lines in another order", "Sort what the tool reads or writes (LC_ALL=C sort): it follows the order of a directory or of a hash."],
  ["line-endings", "the same lines with other ends", "Check the sources out with core.autocrlf=false."],

  ["unknown", "content that differs for a reason that imgkit does not know", "Compare the two files with diffoscope."],

  // tar-bytes.ts
  ["tar-compression", "the compression around the tar", "Compare the digests of the uncompressed tars: they are equal."],
  ["tar-order", "the order of the entries", "Use tar --sort=name, or imgkit rootfs."],
  ["tar-dialect", "the dialect of the headers", "Use tar --format=posix, or imgkit rootfs."],
  ["tar-records", "which extended header records there are", "Use tar --pax-option=delete=atime,delete=ctime, or imgkit rootfs."],
  ["tar-global", "a global extended header", "git archive and others write one; imgkit rootfs writes none."],
  [
    "tar-header-names",
    "the names of the extended headers",
    "Use tar --pax-option=exthdr.name=%d/PaxHeaders/%f, or imgkit rootfs: the default holds a process id.",
  ],
  ["tar-header-times", "the times of the extended headers", "Use tar --mtime=@EPOCH, or imgkit rootfs with the same --epoch."],
  ["tar-names", "how names begin or end (./, /)", "Use tar -C DIR . on both, or imgkit rootfs."],
  ["tar-owner-names", "names of owners beside their numbers", "Use tar --numeric-owner, or imgkit rootfs."],
  ["tar-numbers", "how numbers are spelled in the headers", "Write both with the same tool: tar --format=posix, or imgkit rootfs."],
  ["tar-devices", "the device fields of entries that are no devices", "Write both with the same tool: GNU tar 1.35, or imgkit rootfs."],
  ["tar-sparse", "how sparse files are stored", "Leave tar --sparse out, or imgkit rootfs."],
  ["tar-links", "which name of a hard link holds the content", "It follows from the order: tar --sort=name, or imgkit rootfs."],
  ["tar-padding", "the zeros at the end", "Use tar --blocking-factor=20 (the default), or imgkit rootfs."],
  ["tar-unknown", "bytes of the archive that no tree holds", "Write both with imgkit rootfs."],
] as const;

export type CauseCode = (typeof causeTable)[number][0];

/** A cause that was found. */
export interface FoundCause {
  readonly code: CauseCode;
  /** What was seen: both sides' values, and where. */
  readonly detail: string;
}
