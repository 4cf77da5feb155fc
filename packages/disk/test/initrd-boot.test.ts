import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, copyFileSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { memorySource, streamSource } from "@imgkit/bytes";
import { createOutput, type FileSource, openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { overlay, readTar, type Tree, treeFromObject } from "@imgkit/core";
import { nativeEngine } from "@imgkit/verity/node";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { long, oracle } from "../../../test/oracle.ts";
import { layoutDisk } from "../src/disk/layout.ts";
import { type DiskDescription, writeDisk } from "../src/disk/write.ts";
import { buildInitrd, packInitrd } from "../src/initrd/build.ts";
import { findFile } from "../src/initrd/files.ts";
import { epoch, run, scratch } from "./helpers.ts";

const isLong = process.env.IMGKIT_LONG === "1";
const boots = isLong ? oracle("qemu-system-x86_64", "mmdebstrap") : long();

/** Says what it finds, reads the whole of each verity device, and turns the machine off. */
const init = `#!/bin/sh
echo "TEST-INIT $*"
sed -n 's/^\\([^ ]* [^ ]* [^ ]* r[ow]\\),.*/TEST-MOUNT \\1/p' /proc/mounts
for path in / /usr /opt /var /home; do (echo x >$path/written) 2>/dev/null && echo "TEST-WRITABLE $path" || echo "TEST-READONLY $path"; done
for device in /dev/mapper/*; do case $device in */control) ;; *) cat $device >/dev/null && echo "TEST-READ $device" || echo "TEST-FAILED $device" ;; esac; done
echo TEST-END
echo o >/proc/sysrq-trigger
sleep 60
`;

let folder = "";
let source: FileSource;
let tree: Tree;

beforeAll(async () => {
  if (!isLong) return;
  folder = scratch();
  const tar = join(folder, "root.tar");
  run("mmdebstrap", "--quiet", "--variant=minbase", "--include=linux-image-cloud-amd64,cryptsetup-bin,busybox-static", "bookworm", tar);
  source = openFile(tar);
  const contents = await readTar(source);
  const initrd = await buildInitrd(contents.tree, { epoch });
  await writeFileAtomic(join(folder, "initrd"), packInitrd(initrd.tree));
  await writeFileAtomic(join(folder, "vmlinuz"), streamSource(findFile(contents.tree, "vmlinuz")?.content ?? memorySource(new Uint8Array(0))));
  // Without what makes reading all of it slow.
  const small = contents.tree.map((node) => (/^(usr\/share|usr\/lib\/modules|boot|var\/lib)\/./.test(node.path) ? undefined : node));
  const added = treeFromObject({ "usr/sbin/init": { content: init, mode: 0o755 }, "opt/file": "in opt\n" }, { mtime: epoch });
  tree = overlay(small, added, { folders: "base" }).tree;
}, 600_000);

afterAll(() => source?.close());

async function makeDisk(name: string, split: readonly ("usr" | "opt")[] = []): Promise<DiskDescription> {
  const output = createOutput(join(folder, name));
  const disk = await writeDisk(await layoutDisk({ tree, epoch }, { arch: "x86-64", split }), output, { engine: nativeEngine });
  output.commit();
  return disk;
}

/** What the serial console shows of a boot, kernel and initrd given directly. */
function boot(disk: string, commandLine: string): string {
  const machine = "-machine q35 -accel tcg -cpu max -smp 1 -m 1024 -nodefaults -no-user-config -display none -serial stdio -no-reboot -nic none".split(" ");
  const drive = ["-drive", `file=${join(folder, disk)},if=virtio,format=raw,snapshot=on`];
  const kernel = ["-kernel", join(folder, "vmlinuz"), "-initrd", join(folder, "initrd"), "-append", `console=ttyS0 panic=-1 ${commandLine}`];
  const { stdout } = spawnSync("qemu-system-x86_64", [...machine, ...drive, ...kernel], {
    encoding: "utf8",
    timeout: 180_000,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return stdout.replaceAll("\r", "");
}

function flip(file: string, offset: number): void {
  const fd = openSync(file, "r+");
  const byte = new Uint8Array(1);
  readSync(fd, byte, 0, 1, offset);
  writeSync(fd, Uint8Array.of((byte[0] ?? 0) ^ 1), 0, 1, offset);
  closeSync(fd);
}

describe("Debian boots with the initrd that its own tree gives", { timeout: 600_000 }, () => {
  boots("/ on verity and EROFS, read-only, every block of it read", async () => {
    const { kernelCommandLine, rootHash } = await makeDisk("disk");
    const log = boot("disk", `${kernelCommandLine} single`);
    expect(log).toContain(`imgkit-initrd: / is /dev/vda1, verified by /dev/vda2, root hash ${rootHash}\n`);
    expect(log).toContain("TEST-INIT single\n");
    expect(log).toContain("TEST-MOUNT /dev/mapper/root / erofs ro\n");
    expect(log).toMatch(/TEST-READONLY \/\n[\s\S]*TEST-READ \/dev\/mapper\/root\nTEST-END/);
  });

  boots("/usr and /opt as verity pairs of their own, an overlay on /var, an empty /home", async () => {
    const { kernelCommandLine } = await makeDisk("split", ["usr", "opt"]);
    const log = boot("split", `${kernelCommandLine} imgkit.overlay=/var imgkit.tmpfs=/home`);
    for (const [name, path] of Object.entries({ root: "/", usr: "/usr", opt: "/opt" })) {
      expect(log).toContain(`TEST-MOUNT /dev/mapper/${name} ${path} erofs ro\n`);
      expect(log).toContain(`TEST-READONLY ${path}\n`);
      expect(log).toContain(`TEST-READ /dev/mapper/${name}\n`);
    }
    expect(log).toContain("TEST-MOUNT overlay /var overlay rw\n");
    expect(log).toContain("TEST-MOUNT tmpfs /home tmpfs rw\n");
    expect(log).toMatch(/TEST-WRITABLE \/var\nTEST-WRITABLE \/home\n/);
  });

  boots("a flipped byte fails the reads of its block, or ends it all where that is asked for", async () => {
    const { kernelCommandLine, partitions } = await makeDisk("good");
    const { offset = 0, size = 0 } = partitions[0] ?? {};
    copyFileSync(join(folder, "good"), join(folder, "flipped"));
    flip(join(folder, "flipped"), offset + Math.floor(size / 2));
    const log = boot("flipped", kernelCommandLine);
    expect(log).toMatch(/device-mapper: verity: .*data block \d+ is corrupted/);
    expect(log).toContain("TEST-FAILED /dev/mapper/root\n");
    const panicked = boot("flipped", `${kernelCommandLine} systemd.verity_root_options=panic-on-corruption`);
    expect(panicked).toContain("Kernel panic - not syncing: dm-verity device corrupted");
    expect(panicked).not.toContain("TEST-END");
  });

  boots("what cannot be is said, and nothing is started", async () => {
    const { kernelCommandLine, rootHash } = await makeDisk("other");
    const wrong = rootHash.replace(/^(.{40})./, (_, head: string) => `${head}${rootHash[40] === "0" ? "1" : "0"}`);
    const cases: [line: string, message: RegExp][] = [
      ["imgkit.wait=1", /no roothash=/],
      [`imgkit.wait=1 roothash=${"7".repeat(64)}`, /no partition PARTUUID=77777777-7777-7777-7777-777777777777 after 1 seconds/],
      [
        `systemd.verity_root_data=/dev/vda1 systemd.verity_root_hash=/dev/vda2 roothash=${wrong}`,
        /imgkit-initrd: \/ (is not what its root hash says|cannot be mounted)/,
      ],
      [`${kernelCommandLine} systemd.verity_root_options=no-superblock`, /the verity option no-superblock of \/ is not known/],
      [`${kernelCommandLine} init=/none`, /the image has no \/none/],
    ];
    for (const [line, message] of cases) {
      const log = boot("other", line);
      expect(log).toMatch(message);
      expect(log).toContain("Kernel panic - not syncing: Attempted to kill init!");
      expect(log).not.toContain("TEST-INIT");
    }
  });

  boots("the recipe of docs/bytes/initrd-1.md finds all of it in the tree, unpacked", () => {
    const page = new URL("../../../docs/bytes/initrd-1.md", import.meta.url);
    const recipe = execFileSync("cat", [page.pathname], { encoding: "utf8" }).split("```sh\n").at(-1)?.split("```")[0] ?? "exit 1";
    const unpacked = join(folder, "tree");
    run("mkdir", unpacked);
    run("tar", "-C", unpacked, "-xf", join(folder, "root.tar"));
    writeFileSync(join(folder, "recipe"), recipe);
    const printed = execFileSync("bash", ["-eu", join(folder, "recipe")], {
      encoding: "utf8",
      env: { ...process.env, INITRD: join(folder, "initrd"), TREE: unpacked },
    });
    expect(printed).toMatch(/^[0-9a-f]{64} {2}init\n$/);
  });
});
