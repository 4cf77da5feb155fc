import fs from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { long, oracle } from "../../../test/oracle.ts";
import { epoch, here, json, Scratch } from "./cli.ts";
import { boot, copySparse, debianTar, firstProgram, flip } from "./machine.ts";

const scratch = new Scratch("boot");
afterAll(() => scratch.remove());

const packages = ["linux-image-cloud-amd64", "cryptsetup-bin", "busybox-static", "systemd-boot-efi"];
/** What takes long to write and to boot from and is nothing that boots. */
const unneeded = ["usr/share", "boot/initrd.img*", "initrd.img*", "var/lib/dpkg"].flatMap((path) => ["--exclude", path]);

/** Where the content of a file stands: the map says which blocks are its own. */
function blockOf(map: string, path: string): { offset: number; block: number } {
  const [root] = JSON.parse(fs.readFileSync(map, "utf8")).fileSystems;
  const extent = root.extents.find((one: { path: string; part: string }) => one.path === path && one.part === "data");
  const block = extent.blocks[0] + 3;
  return { offset: root.offset + block * 4096 + 17, block };
}

oracle("mmdebstrap", "qemu-system-x86_64", "ovmf")(
  "Debian boots by itself with its root behind dm-verity, and with one byte of it changed the kernel says which block and does not",
  async () => {
    fs.writeFileSync(scratch.at("init"), firstProgram("/usr/bin/perl"), { mode: 0o755 });
    const [disk, damaged, map] = [scratch.at("disk.raw"), scratch.at("damaged.raw"), scratch.at("map.json")];
    const source = [await debianTar("bookworm-boot", packages), "--add", `usr/sbin/init=${scratch.at("init")}`, ...unneeded];
    const cmdline = "console=ttyS0 panic=-1 systemd.verity_root_options=panic-on-corruption";
    const { rootHash } = json(await here(["disk", ...source, ...epoch, "--cmdline", cmdline, "--map", map, "--json", "-o", disk]));
    const { offset, block } = blockOf(map, "usr/bin/perl");
    copySparse(disk, damaged);
    flip(damaged, offset);
    const [sound, broken] = await Promise.all([boot(disk, { seconds: 180 }), boot(damaged, { seconds: 180 })]);

    expect(sound.log).toContain(`verified by /dev/vda3, root hash ${rootHash}`);
    expect(sound.log).toMatch(/^BOOTED \/dev\/mapper\/root \/ erofs ro\r?$/m);
    expect(sound.log).toMatch(/^BOOTED-AND-READ\r?$/m);
    expect(sound.ended).toBe(true);

    expect(broken.log).toMatch(/^BOOTED \/dev\/mapper\/root \/ erofs ro\r?$/m);
    expect(broken.log).toMatch(new RegExp(`device-mapper: verity: \\S+: data block ${block} is corrupted`));
    expect(broken.log).toContain("Kernel panic - not syncing: dm-verity device corrupted");
    expect(broken.log).not.toContain("BOOTED-AND-READ");
  },
  600_000,
);

/** In a long run, `test` where all of the tools are here. */
const longBoot: typeof test = long() === test ? oracle("mmdebstrap", "qemu-system-x86_64", "ovmf") : long();

longBoot(
  "a disk of 4 KiB sectors boots, with usr and opt behind trees of their own, and not when one of these is another's",
  async () => {
    fs.writeFileSync(scratch.at("init-split"), firstProgram("/usr/bin/perl /opt/data"), { mode: 0o755 });
    fs.writeFileSync(scratch.at("data"), pseudoRandomBytes(1, 100_000));
    const disk = scratch.at("split.raw");
    // /sbin is a link into usr: the program that is started is behind usr's tree.
    const added = ["--add", `usr/sbin/init=${scratch.at("init-split")}`, "--add", `opt/data=${scratch.at("data")}`];
    const source = [await debianTar("bookworm-boot", packages), ...added, ...unneeded];
    const shape = ["--split", "usr,opt", "--sector-size", "4096", "--cmdline", "console=ttyS0 panic=-1"];
    const { pairs, partitions } = json(await here(["disk", ...source, ...epoch, ...shape, "--json", "-o", disk]));
    const { log } = await boot(disk, { seconds: 300, sectorSize: 4096 });
    for (const { mountPoint } of pairs) expect(log).toContain(`imgkit-initrd: ${mountPoint} is /dev/vda`);
    for (const { rootHash } of pairs) expect(log).toContain(`root hash ${rootHash}`);
    for (const [name, place] of [
      ["root", "/"],
      ["usr", "/usr"],
      ["opt", "/opt"],
    ])
      expect(log).toMatch(new RegExp(`^BOOTED /dev/mapper/${name} ${place} erofs ro\r?$`, "m"));
    expect(log).toMatch(/^BOOTED-AND-READ\r?$/m);

    // The first block of usr's hash tree, which the root hash is the digest of.
    flip(disk, partitions[4].offset + 4096 + 5);
    const damaged = await boot(disk, { seconds: 300, sectorSize: 4096 });
    expect(damaged.log).toContain("imgkit-initrd: / is /dev/vda2");
    expect(damaged.log).not.toMatch(/^BOOTED/m);
    expect(damaged.log).toContain("Kernel panic");
  },
  1_200_000,
);

longBoot(
  "a compressed qcow2 boots",
  async () => {
    fs.writeFileSync(scratch.at("init-qcow2"), firstProgram("/usr/bin/perl"), { mode: 0o755 });
    const disk = scratch.at("disk.qcow2");
    const source = [await debianTar("bookworm-boot", packages), "--add", `usr/sbin/init=${scratch.at("init-qcow2")}`, ...unneeded];
    const made = json(await here(["disk", ...source, ...epoch, "--cmdline", "console=ttyS0 panic=-1", "--compress", "--json", "-o", disk]));
    expect(made.container).toBe("qcow2");
    const { log } = await boot(disk, { seconds: 300, format: "qcow2" });
    expect(log).toContain(`root hash ${made.rootHash}`);
    expect(log).toMatch(/^BOOTED-AND-READ\r?$/m);
  },
  1_200_000,
);

longBoot(
  "with Secure Boot on, the firmware starts the kernel image that --secure-boot-key signed, and no other",
  async () => {
    fs.writeFileSync(scratch.at("init-signed"), firstProgram("/usr/bin/perl"), { mode: 0o755 });
    const source = [await debianTar("bookworm-boot", packages), "--add", `usr/sbin/init=${scratch.at("init-signed")}`, ...unneeded];
    const snakeoil = "/usr/share/ovmf/PkKek-1-snakeoil";
    const passphrase = scratch.write("passphrase", "snakeoil\n");
    const key = ["--secure-boot-key", `${snakeoil}.key`, "--secure-boot-cert", `${snakeoil}.pem`, "--secure-boot-passphrase-file", passphrase];
    const make = async (name: string, ...more: string[]): Promise<string> => {
      json(await here(["disk", ...source, ...epoch, "--cmdline", "console=ttyS0 panic=-1", ...more, "--json", "-o", scratch.at(name)]));
      return scratch.at(name);
    };
    const signed = await boot(await make("signed.raw", ...key), { seconds: 300, secure: true });
    expect(signed.log).toMatch(/secureboot: Secure boot enabled/);
    expect(signed.log).toMatch(/^BOOTED-AND-READ\r?$/m);
    const unsigned = await boot(await make("unsigned.raw"), { seconds: 120, secure: true, until: /Access Denied/ });
    expect(unsigned.log).not.toMatch(/Linux version|BOOTED/);
    expect(unsigned.log).toMatch(/Access Denied/);
  },
  1_200_000,
);

const check = `[Unit]
RequiresMountsFor=/var /home
After=multi-user.target

[Service]
Type=oneshot
StandardOutput=journal+console
ExecStart=/bin/sh -c 'echo again >>/var/boots; for dir in / /var /home; do echo "MOUNTED $(findmnt -n -o TARGET,SOURCE,FSTYPE $dir)"; done; echo "BOOT $(wc -l </var/boots)"'
ExecStart=systemctl poweroff --no-block

[Install]
WantedBy=multi-user.target
`;

longBoot(
  "a Debian with systemd boots: at the first boot it makes /var and /home, and finds them at the second",
  async () => {
    const units = scratch.folder("overlay/etc/systemd/system/multi-user.target.wants");
    fs.writeFileSync(join(units, "../check.service"), check);
    fs.symlinkSync("../check.service", join(units, "check.service"));
    const tar = await debianTar("bookworm-systemd", [...packages, "systemd-sysv", "udev", "e2fsprogs"]);
    const disk = scratch.at("systemd.raw");
    const words = ["--var", "64M", "--home", "32M", "--cmdline", "console=ttyS0 panic=-1"];
    json(await here(["disk", tar, "--overlay", scratch.at("overlay"), ...epoch, ...words, "--exclude", "usr/share/doc", "--json", "-o", disk]));
    for (const count of [1, 2]) {
      const { log, ended } = await boot(disk, { seconds: 600, keep: true });
      expect(log).toMatch(/MOUNTED \/ +\/dev\/mapper\/root +erofs/);
      for (const name of ["var", "home"]) expect(log).toMatch(new RegExp(`MOUNTED /${name} +/dev/vda[45] +ext4`));
      expect(log).toMatch(new RegExp(`BOOT ${count}\\b`));
      expect(ended).toBe(true);
    }
  },
  2_400_000,
);
