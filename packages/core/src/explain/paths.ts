import type { CauseCode, FoundCause } from "./causes.ts";
import { found } from "./pair.ts";

/** What a path alone tells: such a file differs whenever it is made. What the profiles take out is not repeated here. */
const rules: readonly (readonly [RegExp, CauseCode, string])[] = [
  [/^etc\/ssh\/ssh_host_[^/]+_key(\.pub)?$/, "ssh-host-key", "a key pair made at installation"],
  [/^etc\/nvme\/host(id|nqn)$/, "random-identity", "the NVMe host's identity"],
  [/^(var\/lib\/systemd|boot\/efi\/loader|efi\/loader)\/random-seed$/, "random-identity", "a random seed"],
  [/^etc\/(hostid|iscsi\/initiatorname\.iscsi)$/, "random-identity", "the machine's identity"],
  [/^etc\/ssl\/(certs|private)\/ssl-cert-snakeoil\.(pem|key)$/, "random-identity", "a self-signed certificate made at installation"],
  [/^etc\/(hostname|mailname)$/, "host-network", "the host's name"],
  [/^etc\/(hosts|resolv\.conf)$/, "host-network", "the host's addresses"],
  [/^var\/log\//, "build-log", "a log"],
  [/^var\/lib\/dkms\/.*\/make\.log$/, "build-log", "dkms's log"],
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
  [/(^|\/)__pycache__(\/.*)?$/, "derived-cache", "made by python at the first import, or by compileall"],
];

/** What is known of a path, whatever its content is. */
export function causeOfPath(path: string): FoundCause | undefined {
  const known = rules.find(([pattern]) => pattern.test(path));
  return known === undefined ? undefined : found(known[1], known[2]);
}
