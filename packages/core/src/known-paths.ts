import type { CauseCode, FoundCause } from "./explain/causes.ts";

// Paths that differ from build to build, whoever builds: what a comparison says of them, and what is reported of a single tree. What the
// scrub profiles take out is not repeated here.

/** Why such a path is reported of a tree, though it is not removed. */
export interface SuspectPath {
  readonly code: "HOST_KEY" | "HOST_IDENTITY" | "RANDOM_SEED" | "HOST_CONFIGURATION" | "PYTHON_CACHE" | "BUILD_LOG";
  readonly detail: string;
}

const hostIdentity: SuspectPath = { code: "HOST_IDENTITY", detail: "a random identity of the building host" };
const hostConfiguration: SuspectPath = { code: "HOST_CONFIGURATION", detail: "often copied from the building host" };
const installedKey: SuspectPath = { code: "HOST_KEY", detail: "a key made at random when ssl-cert was installed: every machine of this image would share it" };
const pythonCache: SuspectPath = {
  code: "PYTHON_CACHE",
  detail: "Python's cache holds the times of its sources; PYTHONDONTWRITEBYTECODE=1, or py3compile with SOURCE_DATE_EPOCH",
};

/** `what`: what it is, or what makes it. `suspect` is missing where a path is worth a word only when two trees differ in it. */
const table: readonly (readonly [pattern: RegExp, cause: CauseCode, what: string, suspect?: SuspectPath])[] = [
  [
    /^etc\/ssh\/ssh_host_[^/]+_key(\.pub)?$/,
    "ssh-host-key",
    "a key pair made at installation",
    { code: "HOST_KEY", detail: "a key made at random when openssh-server was installed: every machine of this image would share it" },
  ],
  [/^etc\/nvme\/host(id|nqn)$/, "random-identity", "the NVMe host's identity", hostIdentity],
  [
    /^(var\/lib\/(systemd|urandom)|boot\/efi\/loader|efi\/loader)\/random-seed$/,
    "random-identity",
    "a random seed",
    { code: "RANDOM_SEED", detail: "random by its nature; machines of one image may not share it" },
  ],
  [/^etc\/(hostid|iscsi\/initiatorname\.iscsi)$/, "random-identity", "the machine's identity", hostIdentity],
  [/^etc\/ssl\/(certs|private)\/ssl-cert-snakeoil\.(pem|key)$/, "random-identity", "a self-signed certificate made at installation", installedKey],
  [/^etc\/(hostname|mailname)$/, "host-network", "the host's name", hostConfiguration],
  [/^etc\/resolv\.conf$/, "host-network", "the host's addresses", hostConfiguration],
  [/^etc\/hosts$/, "host-network", "the host's addresses"],
  [/^var\/log\//, "build-log", "a log"],
  [/^var\/lib\/dkms\/.*\/make\.log$/, "build-log", "dkms's log", { code: "BUILD_LOG", detail: "a log of the build, with its clock" }],
  [/^etc\/ld\.so\.cache$/, "derived-cache", "made by ldconfig"],
  [/^var\/cache\/fontconfig\//, "derived-cache", "made by fc-cache, with the times of the font folders"],
  [/^var\/cache\/man\//, "derived-cache", "made by mandb, with the times of the pages"],
  [/^var\/cache\/debconf\//, "derived-cache", "made by debconf, in the order of the questions"],
  [/^usr\/share\/mime\/(mime\.cache|[^/]+\/[^/]+\.xml|globs2?|magic|types|aliases|subclasses|XMLnamespaces)$/, "derived-cache", "made by update-mime-database"],
  [/^usr\/share\/icons\/[^/]+\/icon-theme\.cache$/, "derived-cache", "made by gtk-update-icon-cache, with the order of the folder"],
  [/^usr\/share\/applications\/mimeinfo\.cache$/, "derived-cache", "made by update-desktop-database"],
  [/^usr\/share\/glib-2\.0\/schemas\/gschemas\.compiled$/, "derived-cache", "made by glib-compile-schemas"],
  [/^usr\/share\/info\/dir$/, "derived-cache", "made by install-info, in the order of installation"],
  [/^usr\/lib\/.*\/(gdk-pixbuf-2\.0\/[^/]+\/loaders|gtk-[^/]+\/[^/]+\/immodules)\.cache$/, "derived-cache", "made from the order of a folder"],
  [/^usr\/lib\/locale\/locale-archive$/, "derived-cache", "made by localedef, with the times and the order of the locales"],
  [/^usr\/lib\/modules\/[^/]+\/modules\.[^/]+$/, "derived-cache", "made by depmod"],
  [/^(usr\/lib\/udev|etc\/udev)\/hwdb\.bin$/, "derived-cache", "made by systemd-hwdb"],
  [/^boot\/initrd\.img[^/]*$/, "derived-cache", "made by update-initramfs; SOURCE_DATE_EPOCH makes it repeatable"],
  [/^etc\/ssl\/certs\/java\/cacerts$/, "derived-cache", "made by ca-certificates-java, with the time of the build"],
  [/^etc\/(passwd|group|shadow|gshadow|subuid|subgid)-$/, "backup-file", "made by passwd, useradd or groupadd"],
  [/^var\/lib\/dpkg\/[a-z]+-old$/, "backup-file", "made by dpkg"],
  [/^var\/backups\//, "backup-file", "made by a daily job"],
  [/^var\/lib\/apt\/extended_states$/, "package-state", "apt's record of what was installed automatically"],
  [
    /^var\/lib\/(dpkg\/(status|available|diversions|statoverride|lock[^/]*|triggers\/.*|arch|cmethopt)|pam\/.*|ucf\/.*|shells\.state)$/,
    "package-state",
    "the order and choice of packages",
  ],
  [/^etc\/apt\/sources\.list(\.d\/.*)?$/, "package-state", "the mirror that the build used"],
  [/^debootstrap(\/.*)?$/, "package-state", "debootstrap's own folder"],
  [/(^|\/)__pycache__$|\.pyc$/, "derived-cache", "made by python at the first import, or by compileall", pythonCache],
  [/(^|\/)__pycache__\//, "derived-cache", "made by python at the first import, or by compileall"],
];

const suspects = table.flatMap(([pattern, , , suspect]) => (suspect === undefined ? [] : [{ pattern, suspect }]));

/** All of them at once: nearly every path of a tree is none of them. */
const anySuspect = new RegExp(suspects.map(({ pattern }) => pattern.source).join("|"));

/** What is known of a path that differs, whatever stands there. */
export function causeOfPath(path: string): FoundCause | undefined {
  const row = table.find(([pattern]) => pattern.test(path));
  return row === undefined ? undefined : { code: row[1], detail: row[2] };
}

/** What is to be said of a path in a single tree. */
export function suspectPath(path: string): SuspectPath | undefined {
  return anySuspect.test(path) ? suspects.find(({ pattern }) => pattern.test(path))?.suspect : undefined;
}
