import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { memorySource, toHex } from "@imgkit/bytes";
import { nativeSha256, openFile } from "@imgkit/bytes/node";
import { describe, expect } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle, ukify } from "../../../test/oracle.ts";
import { createUki, type UkiInput } from "../src/uki/build.ts";
import { readUki } from "../src/uki/reader.ts";
import { run, save, scratch } from "./helpers.ts";
import { makeKernel, makePe } from "./pe-helpers.ts";

/** Of Debian 12: its sections lie closer than their alignment, and it has symbols. */
const debianStub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

const contents = {
  linux: makeKernel("6.1.0-18-amd64", 70_000),
  initrd: pseudoRandomBytes(1, 123_457),
  osRelease: 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n',
  commandLine: "console=ttyS0 roothash=0123 größe=1",
};

function input(stub: string | Uint8Array): UkiInput {
  return {
    stub: typeof stub === "string" ? openFile(stub) : memorySource(stub),
    linux: memorySource(contents.linux),
    initrds: [memorySource(contents.initrd)],
    osRelease: contents.osRelease,
    commandLine: contents.commandLine,
  };
}

/** The same parts as files in a folder. */
function files(): string {
  const folder = scratch();
  writeFileSync(join(folder, "linux"), contents.linux);
  writeFileSync(join(folder, "initrd"), contents.initrd);
  writeFileSync(join(folder, "os-release"), contents.osRelease);
  writeFileSync(join(folder, "cmdline"), contents.commandLine);
  return folder;
}

/** What the recipe of docs/bytes/uki-1.md makes of the parts. */
function byUkify(stub: string): Uint8Array {
  const folder = files();
  const { command, env } = ukify() ?? { command: ["ukify"], env: {} };
  writeFileSync(join(folder, "ukify"), `#!/bin/sh\nexec ${command.join(" ")} "$@"\n`, { mode: 0o755 });
  const recipe =
    readFileSync(new URL("../../../docs/bytes/uki-1.md", import.meta.url), "utf8")
      .split("```sh\n")[1]
      ?.split("```")[0] ?? "";
  const printed = execFileSync("sh", ["-euc", recipe], {
    cwd: folder,
    env: { ...env, PATH: `${folder}:${process.env.PATH}`, STUB: stub },
    encoding: "utf8",
    stdio: "pipe",
  });
  const made = new Uint8Array(readFileSync(join(folder, "uki.efi")));
  expect(printed).toBe(`${toHex(nativeSha256.hash(made))}  -\n`);
  return made;
}

describe("ukify of systemd 257", () => {
  const stubs: readonly (readonly [whose: string, stub: string | undefined, ...needs: string[]])[] = [
    ["the host's stub", debianStub, "systemd-stub"],
    ["its own stub", ukify()?.stub],
  ];
  for (const [whose, stub = "", ...needs] of stubs) {
    oracle("ukify", ...needs)(
      `as in the recipe of docs/bytes/uki-1.md writes the same image, bit for bit but for a NUL that it adds to .sbat, with ${whose}`,
      async () => {
        const uki = await createUki(input(stub));
        const ours = readFileSync(await save(uki));
        const theirs = byUkify(stub);
        const sbat = (await readUki(uki)).sections.find(({ name }) => name === ".sbat")?.content;
        if ((await sbat?.read(sbat.size - 1, sbat.size))?.[0] !== 0) {
          // VirtualSize, behind the name in the section's header.
          const at = ours.indexOf(".sbat\0\0\0") + 8;
          expect(theirs[at]).toBe((ours[at] ?? 0) + 1);
          theirs[at] = ours[at] ?? 0;
        }
        expect(ours.equals(theirs)).toBe(true);
      },
    );
  }

  oracle("ukify", "systemd-stub")("reads back the texts that were put in", async () => {
    const file = await save(await createUki(input(debianStub)));
    const { command, env } = ukify() ?? { command: ["ukify"], env: {} };
    const [python, ...before] = command as [string, ...string[]];
    const printed = execFileSync(python, [...before, "inspect", file, "--json=short"], { env: { ...process.env, ...env }, encoding: "utf8", stdio: "pipe" });
    const sections = JSON.parse(printed);
    expect(sections[".cmdline"].text).toBe(contents.commandLine);
    expect(sections[".osrel"].text).toBe(contents.osRelease);
    expect(sections[".uname"].text).toBe("6.1.0-18-amd64");
    expect(sections[".linux"].size).toBe(contents.linux.length);
  });
});

describe("binutils", () => {
  for (const [name, stub] of [
    ["a stub made by code", makePe({ symbols: 2 })],
    ["a stub whose headers grow", makePe({ sizeOfHeaders: 512, firstAddress: 4096 })],
  ] as const) {
    oracle("objcopy", "objdump")(`objdump lists the sections and objcopy takes each out as it was put in, with ${name}`, async () => {
      await judge(await save(await createUki(input(stub)), "uki.efi"));
    });
  }

  oracle(
    "objcopy",
    "objdump",
    "ukify",
  )("objdump lists the sections and objcopy takes each out as it was put in, with the host's stub", async () => {
    const file = await save(await createUki(input(debianStub)), "uki.efi");
    await judge(file);
    expect(sectionOf(file, ".sbat").equals(sectionOf(debianStub, ".sbat"))).toBe(true);
  });

  oracle("objcopy", "systemd-stub")(
    "objcopy --add-section, the recipe from before ukify, puts the same bytes into the same sections, and its image is read",
    async () => {
      const folder = files();
      const theirs = join(folder, "uki.efi");
      const vma = (i: number): string => `${0x100000 * (i + 1)}`;
      const parts = { ".osrel": "os-release", ".cmdline": "cmdline", ".linux": "linux", ".initrd": "initrd" };
      const flags = Object.entries(parts).flatMap(([name, file], i) => [
        "--add-section",
        `${name}=${join(folder, file)}`,
        "--change-section-vma",
        `${name}=${vma(i)}`,
      ]);
      run("objcopy", ...flags, debianStub, theirs);
      const ours = await readUki(openFile(await save(await createUki(input(debianStub)))));
      const read = await readUki(openFile(theirs));
      expect([read.commandLine, read.osRelease, read.sbat, read.arch]).toEqual([ours.commandLine, ours.osRelease, ours.sbat, ours.arch]);
      for (const name of Object.keys(parts)) {
        const [a, b] = [ours, read].map((uki) => uki.sections.find((s) => s.name === name)?.content);
        expect(await b?.read(0, b.size)).toEqual(await a?.read(0, a.size));
      }
    },
  );
});

async function judge(file: string): Promise<void> {
  const read = await readUki(openFile(file));
  const listed = [...run("objdump", "-h", "-w", file).matchAll(/^\s+\d+ (\S+)\s+([0-9a-f]+) /gm)].map(([, name, size]) => ({
    name,
    size: Number.parseInt(size ?? "", 16),
  }));
  // objdump counts the bytes in memory where they are fewer than in the file.
  expect(listed).toEqual(read.sections.map((s) => ({ name: s.name, size: s.content.size })));
  const texts = { ".osrel": contents.osRelease, ".cmdline": contents.commandLine, ".uname": "6.1.0-18-amd64" };
  for (const [name, text] of Object.entries(texts)) expect(sectionOf(file, name).toString("utf8")).toBe(text);
  expect(sectionOf(file, ".linux").equals(contents.linux)).toBe(true);
  expect(sectionOf(file, ".initrd").equals(contents.initrd)).toBe(true);
}

function sectionOf(file: string, name: string): Buffer {
  const out = join(scratch(), "section");
  run("objcopy", "-O", "binary", `--only-section=${name}`, file, out);
  return readFileSync(out);
}
