import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { here } from "./cli.ts";

// A machine in software that boots a disk by itself, through UEFI's firmware: QEMU without KVM, with OVMF.

const firmware = "/usr/share/OVMF";
const cache = fileURLToPath(new URL("../../../node_modules/.cache/imgkit/", import.meta.url));

/** What a machine printed on its serial console. */
export interface Booted {
  readonly log: string;
  /** Whether the machine turned itself off, or ended as it was told to on a panic. */
  readonly ended: boolean;
}

export interface MachineOptions {
  /** Bytes of a logical sector of the disk. Default 512. */
  readonly sectorSize?: 512 | 4096;
  /** What the disk stands in, as qemu calls it. Default raw. */
  readonly format?: "raw" | "qcow2";
  /** Seconds until it is stopped. */
  readonly seconds: number;
  /** Secure Boot is on, and the firmware trusts Debian's snakeoil certificate. */
  readonly secure?: boolean;
  /** Whether what is written to the disk stays there. Default: it does not. */
  readonly keep?: boolean;
  /** It is stopped when the log has this. */
  readonly until?: RegExp;
}

/** Boots a disk. A machine that never started its kernel's first program is started once more: firmware in software hangs at times. */
export async function boot(disk: string, options: MachineOptions): Promise<Booted> {
  const first = await bootOnce(disk, options);
  const { log, ended } = first;
  return ended || options.until?.test(log) || log.includes("Run /init") ? first : bootOnce(disk, options);
}

async function bootOnce(disk: string, { sectorSize = 512, format = "raw", seconds, keep = false, secure = false, until }: MachineOptions): Promise<Booted> {
  const variables = `${disk}.vars`;
  fs.copyFileSync(`${firmware}/OVMF_VARS_4M${secure ? ".snakeoil" : ""}.fd`, variables);
  const words = [
    ...["-machine", secure ? "q35,smm=on" : "q35", ...(secure ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : [])],
    ...["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "1024"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-nic", "none"],
    ...["-drive", `file=${disk},if=none,id=disk,format=${format},snapshot=${keep ? "off" : "on"}`],
    ...["-device", `virtio-blk-pci,drive=disk,logical_block_size=${sectorSize},physical_block_size=${sectorSize}`],
    ...["-drive", `if=pflash,format=raw,unit=0,readonly=on,file=${firmware}/OVMF_CODE_4M${secure ? ".secboot" : ""}.fd`],
    ...["-drive", `if=pflash,format=raw,unit=1,file=${variables}`],
  ];
  const machine = spawn("qemu-system-x86_64", words, { stdio: ["ignore", "pipe", "pipe"] });
  try {
    return await watched(machine, seconds, until);
  } finally {
    fs.rmSync(variables, { force: true });
  }
}

function watched(machine: ChildProcess, seconds: number, until: RegExp | undefined): Promise<Booted> {
  let log = "";
  let stopped = false;
  const stop = (): void => {
    stopped = true;
    machine.kill("SIGKILL");
  };
  const timer = setTimeout(stop, seconds * 1000);
  for (const stream of [machine.stdout, machine.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      log += chunk.toString("latin1");
      if (until?.test(log) === true) stop();
    });
  }
  return new Promise((resolve, reject) => {
    machine.once("error", reject);
    machine.once("close", () => {
      clearTimeout(timer);
      resolve({ log, ended: !stopped });
    });
  });
}

/**
 * The tar of a Debian with a kernel, from mmdebstrap. It is made once and kept in the cache beside the other oracles: it takes a minute, and is
 * what is booted, not what is tested.
 */
export async function debianTar(name: string, packages: readonly string[]): Promise<string> {
  const place = join(cache, `${name}.tar`);
  if (fs.existsSync(place)) return place;
  fs.mkdirSync(cache, { recursive: true });
  const source = `mmdebstrap:bookworm?variant=minbase&include=${packages.join(",")}`;
  const made = await here(["rootfs", source, "--epoch", "1700000000", "--profile", "debian", "-o", place, "--quiet"]);
  if (made.code !== 0) throw new Error(made.stderr);
  return place;
}

/** The system's first program: says what the root is, reads one file of it, and turns the machine off. */
export function firstProgram(reads: string): string {
  return `#!/bin/busybox sh
busybox mount -t proc proc /proc 2>/dev/null
busybox sed -n 's/^\\([^ ]* \\/[a-z]* [a-z]* ro\\)[, ].*/BOOTED \\1/p' /proc/mounts
if busybox cat ${reads} >/dev/null; then echo BOOTED-AND-READ; else echo NOT-READ; fi
busybox poweroff -f
`;
}

/** Flips a bit of one byte of a file, in place. */
export function flip(file: string, at: number): void {
  const fd = fs.openSync(file, "r+");
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, at);
  fs.writeSync(fd, Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
  fs.closeSync(fd);
}

/** Copies a file; holes stay holes. */
export function copySparse(from: string, to: string): void {
  execFileSync("cp", ["--sparse=always", from, to]);
}
