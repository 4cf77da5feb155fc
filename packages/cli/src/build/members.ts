// The members of a build file, each once: what may stand there, and which option of which command it is. Reading a file, the JSON
// Schema for editors and the command lines that are run all come from this table.

/**
 * What a value is and how it becomes words of a command line.
 * - `text`: one text. Numbers are refused: YAML takes 022 for 22.
 * - `path`, `source`: a text that names a file or a source, relative to the build file's folder.
 * - `seconds`: a whole number.
 * - `yes`: true or false; false is the option's `--no-` form, true says nothing, or the other way round for `flag`.
 * - `list`, `paths`, `sources`: several texts; the option is repeated.
 * - `pairs`: a map; the option is repeated as NAME=VALUE. `files`: the same, and the values are paths.
 * - `command`: several texts that are one argument each, given as a JSON array.
 */
export type MemberKind = "text" | "path" | "source" | "seconds" | "yes" | "flag" | "list" | "paths" | "sources" | "pairs" | "files" | "command";

export interface Member {
  readonly kind: MemberKind;
  readonly about: string;
  readonly choices?: readonly string[];
  /** The option's name where it is not the member's. */
  readonly option?: string;
}

export type Members = Readonly<Record<string, Member>>;

/** `tree`: what becomes of the source's tree; options of every command that takes a source. */
export const treeMembers: Members = {
  profile: { kind: "text", about: "what to take out of the tree", choices: ["debian", "debian-slim", "wolfi", "none"] },
  times: { kind: "text", about: "clamp: times after the epoch become the epoch; set: all do", choices: ["clamp", "set"] },
  "strip-prefix": { kind: "text", about: "make what is below this path the root" },
  prefix: { kind: "text", about: "put the whole tree below this path" },
  overlays: { kind: "sources", option: "overlay", about: "sources that are put over the tree, one after the other" },
  add: { kind: "files", about: "files that are added or replaced: the path in the tree, and the file" },
  include: { kind: "list", about: "keep only paths that match (* and ? within a name, ** for any folders)" },
  exclude: { kind: "list", about: "drop paths that match" },
  "apply-mtree": { kind: "path", about: "an mtree specification to take modes, owners, times and devices from" },
  owner: { kind: "text", about: "UID:GID for every node" },
  "id-map": { kind: "list", about: "FROM:TO:COUNT, as newuidmap has it" },
  "mode-clear": { kind: "text", about: "bits of the mode that are taken away, octal, in quotes" },
  "mode-set": { kind: "text", about: "bits of the mode that are given, octal, in quotes" },
  xattrs: { kind: "yes", about: "read and write extended attributes" },
  "xattr-include": { kind: "list", about: "extended attributes that are kept as well" },
  "xattr-exclude": { kind: "list", about: "extended attributes that are dropped" },
};

/** `image`: options of `imgkit image`. */
export const imageMembers: Members = {
  platform: { kind: "text", about: "OS/ARCH or OS/ARCH/VARIANT" },
  base: { kind: "source", about: "an image whose layers come first, unchanged, and whose settings hold where none are given" },
  difference: { kind: "flag", about: "the source is all that the image is to hold: write what it has differently from the base" },
  index: { kind: "flag", about: "put the image beside those of other platforms under its tag, in an index" },
  split: { kind: "text", about: "one layer for each package (debian, apk), or layers of a size" },
  "max-layers": { kind: "text", about: "of a source that is split by package, in quotes" },
  compression: { kind: "text", about: "of the layers", choices: ["gzip", "none"] },
  level: { kind: "text", about: "of gzip/1", choices: ["fast", "default"] },
  entrypoint: { kind: "command", about: "the program and its fixed arguments" },
  cmd: { kind: "command", about: "the default arguments, or the command" },
  env: { kind: "pairs", about: "environment variables" },
  workdir: { kind: "text", about: "the working directory" },
  user: { kind: "text", about: "USER[:GROUP]" },
  labels: { kind: "pairs", option: "label", about: "labels of the config" },
  annotations: { kind: "pairs", option: "annotation", about: "annotations of the manifest" },
  expose: { kind: "list", about: "PORT[/tcp|/udp|/sctp]" },
  "stop-signal": { kind: "text", about: "such as SIGTERM" },
};

/** `disk`: options of `imgkit disk`. */
export const diskMembers: Members = {
  arch: { kind: "text", about: "whose partition types", choices: ["x86-64", "arm64", "riscv64"] },
  seed: { kind: "text", about: "a UUID from which all others and the salt are derived" },
  "sector-size": { kind: "text", about: "512 or 4096, in quotes", choices: ["512", "4096"] },
  format: {
    kind: "text",
    about: "of the file; when it is left out its name says it: .qcow2, .vhd, .tar.gz, else raw",
    choices: ["raw", "qcow2", "vhd", "gce"],
  },
  compress: { kind: "flag", about: "compress the clusters of a qcow2" },
  compression: { kind: "text", about: "of the file systems' files", choices: ["none", "lz4"] },
  split: { kind: "text", about: "usr, opt or usr,opt: folders with a file system and a verity tree of their own" },
  var: { kind: "text", about: "size of an empty partition for /var, such as 1G" },
  home: { kind: "text", about: "size of an empty partition for /home" },
  kernel: { kind: "path", about: "the kernel; the tree's when none is given" },
  initrds: { kind: "paths", option: "initrd", about: "initrds; one that is assembled from the tree when none is given" },
  cmdline: { kind: "text", about: "more words for the kernel command line" },
  stub: { kind: "path", about: "systemd's EFI stub; the tree's when none is given" },
  esp: { kind: "yes", about: "write an EFI system partition when there is a kernel" },
  "secure-boot-key": { kind: "path", about: "an RSA key that signs the kernel image" },
  "secure-boot-passphrase-file": { kind: "path", about: "the passphrase of the key, on the first line" },
  "secure-boot-cert": { kind: "path", about: "the key's certificate" },
  "secure-boot-signature": { kind: "path", about: "a signature that was made elsewhere, of what --secure-boot-export wrote" },
  "verity-key": { kind: "path", about: "an RSA key that signs the root hashes" },
  "verity-passphrase-file": { kind: "path", about: "the passphrase of that key, on the first line" },
  "verity-cert": { kind: "path", about: "that key's certificate" },
  "verity-signature": { kind: "path", about: "a signature of the root hash that was made elsewhere, of what --verity-export wrote" },
  "esp-size": { kind: "text", about: "of the EFI system partition, such as 64M" },
};

/** `outputs`: what is made. */
export const outputMembers: Members = {
  tar: { kind: "path", about: "the root file system as tar/1" },
  mtree: { kind: "path", about: "an mtree specification of it" },
  oci: { kind: "path", about: "an image in an OCI layout: DIR or DIR:TAG" },
  disk: { kind: "path", about: "a GPT disk, protected by dm-verity" },
  record: { kind: "path", about: "what it takes to run this again and compare" },
};

/** The members at the top that are no sections. */
export const topMembers: Members = {
  imgkit: { kind: "text", about: "the form of this file", choices: ["build/1"] },
  source: { kind: "source", about: "as for imgkit rootfs: a directory, a tar, mmdebstrap:SUITE?…" },
  lock: { kind: "path", about: "the lock of the source: imgkit lock FILE.yaml writes it, and building uses exactly what it lists" },
  arch: { kind: "text", about: "of an apko: source: which of its archs; without it the image is for all of them, and there is no tar and no disk" },
  epoch: { kind: "seconds", about: "the time of the outputs, in seconds since 1970; --epoch wins over it, and it over SOURCE_DATE_EPOCH" },
};

export const sections: Readonly<Record<"tree" | "image" | "disk" | "outputs", Members>> = {
  tree: treeMembers,
  image: imageMembers,
  disk: diskMembers,
  outputs: outputMembers,
};
