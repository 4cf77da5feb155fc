import fs from "node:fs";
import { afterAll, expect } from "vitest";
import { oracle } from "../../../test/oracle.ts";
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
