import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { long, oracle } from "../../../test/oracle.ts";
import { epoch, here, json, Scratch } from "./cli.ts";
import { boot, debianTar } from "./machine.ts";

// The kernel itself reads the signature that stands on a disk. Debian's kernel trusts no key that a test has, so the best answer is ENOKEY: it comes
// after the signature was read whole and its signer looked for. What cannot be read has other answers.

const scratch = new Scratch("verity-sign-boot");
afterAll(() => scratch.remove());

const keys = fileURLToPath(new URL("../../attest/test/keys/", import.meta.url));
const packages = ["linux-image-cloud-amd64", "cryptsetup-bin", "busybox-static", "systemd-boot-efi"];
const unneeded = ["usr/share", "boot/initrd.img*", "initrd.img*", "var/lib/dpkg"].flatMap((path) => ["--exclude", path]);

const init = `#!/bin/busybox sh
busybox mount -t proc proc /proc 2>/dev/null
busybox mount -t devtmpfs dev /dev 2>/dev/null
busybox mount -t sysfs sys /sys 2>/dev/null
busybox mount -t tmpfs run /run
hash=$(busybox sed 's/.*roothash=\\([0-9a-f]*\\).*/\\1/' /proc/cmdline)
busybox sed 's/.*"signature":"\\([^"]*\\)".*/\\1/' /dev/vda4 | busybox head -n 1 | busybox tr -d '\\000' | busybox base64 -d >/run/good
busybox head -c 100 /run/good >/run/cut
busybox tail -c +2 /run/good >/run/none
# The root has its own two devices; these are the same bytes.
busybox modprobe loop
busybox losetup -r /dev/loop0 /dev/vda2
busybox losetup -r /dev/loop1 /dev/vda3
for name in good cut none; do
  /usr/sbin/veritysetup open --root-hash-signature=/run/$name /dev/loop0 again /dev/loop1 $hash 2>&1 | busybox sed "s/^/SIGNED $name: /"
done
/usr/sbin/veritysetup open /dev/loop0 again /dev/loop1 $hash && echo OPENED-WITHOUT
busybox poweroff -f
`;

const longBoot: typeof test = long() === test ? oracle("mmdebstrap", "qemu-system-x86_64", "ovmf") : long();

longBoot(
  "the kernel reads the signature on a disk and asks for its key, and does not read a broken one",
  async () => {
    fs.writeFileSync(scratch.at("init"), init, { mode: 0o755 });
    const disk = scratch.at("disk.raw");
    const source = [await debianTar("bookworm-boot", packages), "--add", `usr/sbin/init=${scratch.at("init")}`, ...unneeded];
    const signing = ["--verity-key", `${keys}a.key`, "--verity-cert", `${keys}a.pem`];
    const made = json(await here(["disk", ...source, ...epoch, "--cmdline", "console=ttyS0 panic=-1", ...signing, "--json", "-o", disk]));
    expect(made.pairs).toMatchObject([{ data: 2, verity: 3, veritySig: 4 }]);
    const { log } = await boot(disk, { seconds: 180 });
    expect(log).toMatch(/^SIGNED good: .*Required key not available/m);
    for (const broken of ["cut", "none"]) expect(log).toMatch(new RegExp(`^SIGNED ${broken}: .*Bad message`, "m"));
    expect(log).toContain("OPENED-WITHOUT");
  },
  600_000,
);
