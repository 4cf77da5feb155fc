// The program that Linux starts first in our initrd, for busybox's shell. It mounts what the kernel command line names, behind
// dm-verity and read-only, and starts the system's own first program. It never asks, and never mounts what is not verified.

/** What of busybox the script uses. */
export const applets: readonly string[] = ["sh", "cat", "chmod", "chown", "insmod", "mkdir", "mount", "sed", "sleep", "stat", "switch_root", "tr"];

/** The words of a kernel command line that it heeds are in docs/bytes/initrd-1.md. */
export const initScript: string = `#!/bin/sh
# Assembled by imgkit: initrd/1.
PATH=/bin
export PATH

say() {
  echo "imgkit-initrd: $*"
}

# When the first program ends, the kernel panics: it does not boot, and panic= says what happens then.
die() {
  [ ! -s /run/insmod ] || cat /run/insmod
  say "$*"
  sleep 1
  exit 1
}

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run

set -f
roothash= usrhash= opthash= rootdata= rootverity= usrdata= usrverity= rootopts= usropts= optopts=
fstype= flags= init= tmpfs= overlay= wait=30
for word in $(cat /proc/cmdline); do
  value=\${word#*=}
  case $word in
    roothash=*) roothash=$value ;;
    usrhash=*) usrhash=$value ;;
    imgkit.opthash=*) opthash=$value ;;
    systemd.verity_root_data=*) rootdata=$value ;;
    systemd.verity_root_hash=*) rootverity=$value ;;
    systemd.verity_usr_data=*) usrdata=$value ;;
    systemd.verity_usr_hash=*) usrverity=$value ;;
    systemd.verity_root_options=*) rootopts=$value ;;
    systemd.verity_usr_options=*) usropts=$value ;;
    imgkit.verity_opt_options=*) optopts=$value ;;
    rootfstype=*) fstype=$value ;;
    rootflags=*) flags=$value ;;
    init=*) init=$value ;;
    imgkit.tmpfs=*) tmpfs=$value ;;
    imgkit.overlay=*) overlay=$value ;;
    imgkit.wait=*) wait=$value ;;
  esac
done
case $wait in '' | *[!0-9]*) die "imgkit.wait= is not a number of seconds" ;; esac

# Drivers of hardware that is not there do not load: that is said only when something is missing later.
while read -r module; do
  insmod "/lib/modules/$module.ko" 2>>/run/insmod
done </lib/modules/order

# The first (data) and the last (hash tree) 32 digits of a root hash as a UUID.
uuid() {
  echo "$2" | tr A-F a-f | sed "s/$1/\\\\1/; s/^\\\\(.\\\\{8\\\\}\\\\)\\\\(.\\\\{4\\\\}\\\\)\\\\(.\\\\{4\\\\}\\\\)\\\\(.\\\\{4\\\\}\\\\)/\\\\1-\\\\2-\\\\3-\\\\4-/"
}

# The device that a path or a tag means, once it is there.
find_device() {
  tries=0
  while :; do
    case $1 in
      /*) [ -b "$1" ] && device=$1 && return ;;
      *) device=$(blkid -c /dev/null -o device -t "$1" | sed -n 1p) && [ -n "$device" ] && return ;;
    esac
    tries=$((tries + 1))
    [ "$tries" -le $((wait * 10)) ] || die "no partition $1 after $wait seconds"
    sleep 0.1
  done
}

# open_verity NAME HASH DATA HASHTREE OPTIONS WHERE
open_verity() {
  case $2 in *[!0-9a-fA-F]*) die "the root hash of $6 is not hexadecimal" ;; esac
  [ "\${#2}" -ge 64 ] || die "the root hash of $6 is too short"
  options=
  for option in $(echo "$5" | tr , ' '); do
    case $option in
      ignore-corruption | restart-on-corruption | panic-on-corruption | ignore-zero-blocks | check-at-most-once) options="$options --$option" ;;
      *) die "the verity option $option of $6 is not known" ;;
    esac
  done
  find_device "\${3:-PARTUUID=$(uuid '^\\(.\\{32\\}\\).*' "$2")}"
  data=$device
  find_device "\${4:-PARTUUID=$(uuid '.*\\(.\\{32\\}\\)$' "$2")}"
  veritysetup open $options "$data" "$1" "$device" "$2" || die "$6 is not what its root hash says"
  mount -o "ro\${flags:+,$flags}" \${fstype:+-t "$fstype"} "/dev/mapper/$1" "/sysroot\${6%/}" || die "$6 cannot be mounted"
  say "$6 is $data, verified by $device, root hash $2"
}

[ -n "$roothash" ] || die "the kernel command line has no roothash="
open_verity root "$roothash" "$rootdata" "$rootverity" "$rootopts" /
[ -z "$usrhash" ] || open_verity usr "$usrhash" "$usrdata" "$usrverity" "$usropts" /usr
[ -z "$opthash" ] || open_verity opt "$opthash" '' '' "$optopts" /opt

# What is written is gone when the machine is turned off: an empty folder, or one above what the image has.
folder() {
  case $1 in /*) ;; *) die "$1 is not the path of a folder" ;; esac
  [ -d "/sysroot$1" ] || die "the image has no folder $1"
  mode=$(stat -c %a "/sysroot$1") owner=$(stat -c %u "/sysroot$1") group=$(stat -c %g "/sysroot$1")
}
for path in $(echo "$tmpfs" | tr , ' '); do
  folder "$path"
  mount -t tmpfs -o "nosuid,nodev,mode=$mode,uid=$owner,gid=$group" tmpfs "/sysroot$path" || die "no tmpfs on $path"
done
number=0
for path in $(echo "$overlay" | tr , ' '); do
  folder "$path"
  number=$((number + 1))
  above=/run/imgkit/overlay/$number
  mkdir -p -m 700 /run/imgkit && mkdir -p "$above/upper" "$above/work"
  chmod "$mode" "$above/upper" && chown "$owner:$group" "$above/upper"
  mount -t overlay -o "lowerdir=/sysroot$path,upperdir=$above/upper,workdir=$above/work" overlay "/sysroot$path" || die "no overlay on $path"
done

# A link may be absolute, and lead to what is there once the root is the root.
present() {
  [ -e "/sysroot$1" ] || [ -L "/sysroot$1" ]
}
if [ -z "$init" ]; then
  for init in /sbin/init /etc/init /bin/init ''; do
    present "$init" && break
  done
  [ -n "$init" ] || die "the image has no /sbin/init: add one (the package systemd-sysv), or name a program with init="
fi
present "$init" || die "the image has no $init"

for place in dev proc sys run; do
  [ ! -d "/sysroot/$place" ] || mount -o move "/$place" "/sysroot/$place" || die "the image has no /$place"
done
exec switch_root /sysroot "$init" "$@"
die "$init does not start"
`;
