import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteSource, memorySource, streamSource } from "@imgkit/bytes";
import { openFile, writeFileAtomic } from "@imgkit/bytes/node";
import { createUki } from "@imgkit/disk";
import { beforeAll, describe, expect, test } from "vitest";
import { long, oracle, ukify } from "../../../test/oracle.ts";
import { signImage } from "../src/authenticode/image.ts";
import { type Certificate, readCertificateFile } from "../src/pkcs7/certificate.ts";
import { rsaSigner, rsaVerifier } from "../src/rsa.node.ts";
import { fixture, run, scratch } from "./helpers.ts";

// The judge is the firmware itself: OVMF with Secure Boot on and Debian's snakeoil certificate in its db, in QEMU without KVM.

const snakeoil = { key: "/usr/share/ovmf/PkKek-1-snakeoil.key", certificate: "/usr/share/ovmf/PkKek-1-snakeoil.pem", passphrase: "snakeoil" };
const init = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "REACHED $(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
`;

const tools = ["qemu-system-x86_64", "ovmf", "busybox-static", "cpio", "apt-get", "dpkg-deb"];
/** In a long run, `test` where all of the tools are here. */
const boots = (...more: string[]): typeof test => (long() === test ? oracle(...tools, ...more) : long());

let linux: string;
let initrd: string;
beforeAll(async () => {
  if (long() !== test) return;
  const folder = scratch();
  const [name] = /linux-image-[0-9]\S*/.exec(run("apt-cache", "depends", "linux-image-cloud-amd64")) ?? [];
  execFileSync("apt-get", ["-q", "download", name ?? ""], { cwd: folder, stdio: "ignore" });
  run("dpkg-deb", "-x", join(folder, readdirSync(folder).find((file) => file.endsWith(".deb")) ?? ""), folder);
  linux = join(folder, "boot", readdirSync(join(folder, "boot")).find((file) => file.startsWith("vmlinuz-")) ?? "");
  const root = join(folder, "initrd");
  for (const path of ["bin", "proc"]) mkdirSync(join(root, path), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin", "busybox"));
  writeFileSync(join(root, "init"), init, { mode: 0o755 });
  initrd = join(folder, "initrd.cpio");
  execFileSync("sh", ["-euc", 'find . | cpio -o -H newc --quiet > "$OUT"'], { cwd: root, env: { ...process.env, OUT: initrd } });
});

const commandLine = "console=ttyS0 panic=-1 quiet imgkit=größe";

function image(stub: string): Promise<ByteSource> {
  return createUki({ stub: openFile(stub), linux: openFile(linux), initrds: [openFile(initrd)], commandLine });
}

async function signed(unsigned: ByteSource, who: { key: Uint8Array; certificate: Uint8Array; passphrase?: string }): Promise<ByteSource> {
  const certificate = readCertificateFile(who.certificate)[0] as Certificate;
  return signImage(unsigned, certificate, rsaSigner(who.key, who.passphrase), rsaVerifier);
}

function bySnakeoil(unsigned: ByteSource): Promise<ByteSource> {
  return signed(unsigned, { key: readFileSync(snakeoil.key), certificate: readFileSync(snakeoil.certificate), passphrase: snakeoil.passphrase });
}

/** What the machine prints until it has booted or refused to. */
async function boot(program: ByteSource): Promise<string> {
  const folder = scratch();
  const place = join(folder, "esp", "EFI", "BOOT");
  mkdirSync(place, { recursive: true });
  await writeFileAtomic(join(place, "BOOTX64.EFI"), streamSource(program));
  copyFileSync("/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd", join(folder, "vars.fd"));
  const machine = [
    "-machine",
    "q35,smm=on",
    "-global",
    "driver=cfi.pflash01,property=secure,value=on",
    "-accel",
    "tcg",
    "-cpu",
    "max",
    "-smp",
    "1",
    "-m",
    "1024",
  ];
  const quiet = ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-nic", "none"];
  const flash = (unit: number, file: string, mode: string): string[] => ["-drive", `if=pflash,format=raw,unit=${unit},${mode}file=${file}`];
  const drives = [...flash(0, "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "readonly=on,"), ...flash(1, join(folder, "vars.fd"), "")];
  const esp = ["-drive", `file=fat:rw:${join(folder, "esp")},format=raw,if=virtio`];
  const child = spawn("qemu-system-x86_64", [...machine, ...quiet, ...drives, ...esp], { stdio: ["ignore", "pipe", "inherit"], timeout: 120_000 });
  let log = "";
  for await (const chunk of child.stdout) {
    log += String(chunk);
    if (/No bootable option/.test(log)) child.kill();
  }
  return log;
}

describe("a firmware with Secure Boot", () => {
  for (const [whose, stub, ...needs] of [
    ["the host's stub", "/usr/lib/systemd/boot/efi/linuxx64.efi.stub", "systemd-stub"],
    ["the stub of systemd 257", ukify()?.stub ?? "", "ukify"],
  ] as const) {
    boots(...needs)(
      `starts what is signed, with ${whose}, and the kernel has the command line`,
      async () => {
        expect(await boot(await bySnakeoil(await image(stub)))).toContain(`REACHED ${commandLine}`);
      },
      180_000,
    );
  }

  boots("systemd-stub")(
    "starts what is signed by another key, too, and refuses it without ours",
    async () => {
      const stub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
      const other = await signed(await image(stub), { key: fixture("a.key"), certificate: fixture("a.pem") });
      const refused = await boot(other);
      expect(refused).toContain("Access Denied");
      expect(refused).not.toContain("REACHED");
      expect(await boot(await bySnakeoil(other))).toContain(`REACHED ${commandLine}`);
    },
    300_000,
  );

  boots("systemd-stub")(
    "refuses an image of which one byte was altered after it was signed",
    async () => {
      const good = await bySnakeoil(await image("/usr/lib/systemd/boot/efi/linuxx64.efi.stub"));
      const bytes = (await good.read(0, good.size)).slice();
      const at = Buffer.from(bytes).indexOf("imgkit=");
      bytes[at] = "I".charCodeAt(0);
      const log = await boot(memorySource(bytes));
      expect(log).toContain("Access Denied");
      expect(log).not.toContain("REACHED");
    },
    180_000,
  );
});
