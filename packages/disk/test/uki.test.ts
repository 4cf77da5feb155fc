import { gzipSync } from "node:zlib";
import { type ByteSource, collect, memorySource, streamSource } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { machines } from "../src/pe/format.ts";
import { readPe } from "../src/pe/reader.ts";
import { createUki, type UkiInput } from "../src/uki/build.ts";
import { kernelRelease } from "../src/uki/kernel.ts";
import { readUki } from "../src/uki/reader.ts";
import { makeKernel, makePe, type StubOptions } from "./pe-helpers.ts";

const all = async (source: ByteSource): Promise<Uint8Array> => collect(streamSource(source));
const memory = (size: number, seed = 1): ByteSource => memorySource(pseudoRandomBytes(seed, size));
const text = (s: string): Uint8Array => new TextEncoder().encode(s);

/** A whole input; `change` takes its place where it has a part. */
function input(change: Partial<UkiInput> = {}, stub: StubOptions = {}): UkiInput {
  return {
    stub: memorySource(makePe(stub)),
    linux: memorySource(makeKernel()),
    initrds: [memory(5001)],
    commandLine: "console=ttyS0 quiet",
    osRelease: 'ID=debian\nPRETTY_NAME="Debian"\n',
    ...change,
  };
}

describe("createUki", () => {
  test("the sections stand in ukify's order, each with its bytes, and the stub's own are kept", async () => {
    const parts = { splash: memory(100, 2), deviceTree: memory(200, 3), microcode: memory(300, 4) };
    const given = input(parts);
    const uki = await createUki(given);
    const read = await readUki(memorySource(await all(uki)));
    expect(read.sections.map((s) => s.name)).toEqual([".text", ".sbat", ".osrel", ".cmdline", ".dtb", ".uname", ".splash", ".linux", ".initrd", ".ucode"]);
    expect(read).toMatchObject({ arch: "x86-64", commandLine: given.commandLine, osRelease: given.osRelease, kernelRelease: "6.1.0-18-amd64", signed: false });
    expect(read.sbat).toMatch(/^sbat,1,/);
    const content = async (name: string): Promise<Uint8Array> => all(read.sections.find((s) => s.name === name)?.content as ByteSource);
    for (const [name, part] of [
      [".dtb", parts.deviceTree],
      [".splash", parts.splash],
      [".ucode", parts.microcode],
      [".linux", given.linux],
      [".initrd", given.initrds?.[0] as ByteSource],
    ] as const) {
      expect(await content(name)).toEqual(await all(part));
    }
    expect(await content(".text")).toEqual(new Uint8Array(700).fill(0xc3));
    expect(uki.sections.map((s) => s.name)).toEqual(read.sections.slice(2).map((s) => s.name));
  });

  test("several initrds stand one behind the other, each from a multiple of four bytes on", async () => {
    const initrds = [memory(5, 1), memory(8, 2), memory(3, 3)];
    const read = await readUki(await createUki(input({ initrds })));
    const joined = await all(read.sections.at(-1)?.content as ByteSource);
    expect(joined.length).toBe(8 + 8 + 4);
    expect([joined.slice(0, 5), joined.slice(8, 16), joined.slice(16, 19)]).toEqual(await Promise.all(initrds.map(all)));
  });

  test("headers without room grow, and nothing of the image changes but its place in the file", async () => {
    const tight = { sizeOfHeaders: 512, firstAddress: 4096 };
    const read = await readUki(await createUki(input({}, tight)));
    expect((await readPe(await createUki(input({}, tight)))).optional.SizeOfHeaders).toBe(1024);
    expect(await all(read.sections[0]?.content as ByteSource)).toEqual(new Uint8Array(700).fill(0xc3));
    await expect(createUki(input({}, { ...tight, debug: true }))).rejects.toThrow(/have to move, and it has a debug directory/);
    await expect(createUki(input({}, { sizeOfHeaders: 512, firstAddress: 512, sectionAlignment: 512 }))).rejects.toThrow(/no room for more sections/);
  });

  test("the image says that it runs where data cannot be executed only if its kernel says so too", async () => {
    const linux = makeKernel();
    const made = async (stub: number): Promise<number> => {
      const given = { ...input({ linux: memorySource(linux) }, { dllCharacteristics: stub }) };
      return (await readPe(await createUki(given))).optional.DllCharacteristics;
    };
    expect([await made(0x160), await made(0x060)]).toEqual([0x060, 0x060]);
    new DataView(linux.buffer).setUint16(128 + 24 + 70, 0x100, true);
    expect([await made(0x160), await made(0x060)]).toEqual([0x160, 0x060]);
  });

  test("a stub's symbols are left out, and other data behind its sections is refused", async () => {
    const plain = await all(await createUki(input()));
    expect(await all(await createUki(input({}, { symbols: 7 })))).toEqual(plain);
    await expect(createUki(input({}, { tail: new Uint8Array(8) }))).rejects.toMatchObject({ code: "PE_UNSUPPORTED" });
    await expect(createUki(input({}, { symbols: 7, tail: new Uint8Array(8) }))).rejects.toMatchObject({ code: "PE_UNSUPPORTED" });
  });

  test("property: the same parts, read in any pieces, give the same image, and each comes back from it", async () => {
    const sizes = fc.integer({ min: 1, max: 9000 });
    const run = fc.asyncProperty(
      fc.record({
        initrds: fc.array(sizes, { maxLength: 3 }),
        words: fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter((s) => !/\p{Cc}|\p{Cs}/u.test(s)),
        alignment: fc.constantFrom(512, 4096, 65536),
        symbols: fc.nat(3),
        piece: fc.integer({ min: 100, max: 9000 }),
        machine: fc.constantFrom(...(["x86-64", "arm64", "riscv64"] as const)),
      }),
      async ({ initrds, words, alignment, symbols, piece, machine }) => {
        const linux = makeKernel();
        new DataView(linux.buffer).setUint16(128 + 4, machines[machine], true);
        const make = (): Promise<ByteSource> =>
          createUki(
            input(
              { linux: memorySource(linux), initrds: initrds.map((size, i) => memory(size, i + 1)), commandLine: words },
              { machine: machines[machine], sectionAlignment: alignment, symbols },
            ),
          );
        const first = await all(await make());
        expect(await collect(streamSource(await make(), piece))).toEqual(first);
        const { optional, sections } = await readPe(memorySource(first));
        expect(first.length % optional.FileAlignment).toBe(0);
        for (const s of sections) expect([s.virtualAddress % optional.SectionAlignment, s.offset % 512, s.rawSize % 512]).toEqual([0, 0, 0]);
        const read = await readUki(memorySource(first));
        expect(read.commandLine).toBe(words);
        expect(read.arch).toBe(machine);
      },
    );
    await fc.assert(run, { numRuns: process.env.IMGKIT_LONG === "1" ? 500 : 60 });
  }, 300_000);

  test.each<[what: string, change: Partial<UkiInput>, code: string, message: RegExp]>([
    ["an empty command line", { commandLine: "" }, "UKI_INPUT", /1 to 2047 bytes, found 0/],
    ["a command line that Linux cuts", { commandLine: "x".repeat(2048) }, "UKI_INPUT", /1 to 2047 bytes, found 2048/],
    ["a command line with a NUL", { commandLine: "quiet\0init=/bin/sh" }, "UKI_INPUT", /U\+0000 after 5/],
    ["a command line with a newline", { commandLine: "quiet\n" }, "UKI_INPUT", /U\+000A after 5/],
    ["a command line that is no text", { commandLine: "a\ud800" }, "UKI_INPUT", /U\+D800 after 1/],
    ["a release with a space", { kernelRelease: "6.1 x" }, "UKI_INPUT", /kernel release/],
    ["an os-release with a NUL", { osRelease: "ID=x\0" }, "UKI_INPUT", /os-release/],
    ["an empty initrd", { initrds: [memory(0)] }, "UKI_INPUT", /\.initrd; expected at least 1 byte/],
    ["a kernel in gzip", { linux: memorySource(new Uint8Array(gzipSync(makeKernel()))) }, "UKI_INPUT", /gunzip/],
    ["a kernel that is no PE", { linux: memory(5000) }, "PE_CORRUPT", /not a PE image/],
    ["a kernel for arm64", { linux: memorySource(makePe({ machine: machines.arm64 })) }, "UKI_INPUT", /expected x86-64, found arm64/],
    ["a kernel whose version is not in the file", { linux: memorySource(withUint16(makeKernel(), 0x20e, 0xfe00)) }, "KERNEL_CORRUPT", /kernel_version/],
    ["a stub for a 386", { stub: memorySource(makePe({ machine: 0x14c })) }, "UKI_INPUT", /machine that is not known/],
    ["a stub that is no program for UEFI", { stub: memorySource(makePe({ subsystem: 3 })) }, "UKI_INPUT", /subsystem 10, found 3/],
    [
      "a UKI as the stub",
      {
        stub: memorySource(
          makePe({
            sections: [
              [".text", text("a")],
              [".linux", text("b")],
            ],
          }),
        ),
      },
      "PE_UNSUPPORTED",
      /of that name already/,
    ],
    ["an image of 4 GiB", { initrds: [{ size: 2 ** 32 - 4096, read: () => new Uint8Array() }] }, "PE_LIMIT", /less than 4 GiB/],
  ])("%s is refused", async (_, change, code, message) => {
    await expect(createUki(input(change))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("riscv64 takes half the command line, and what it takes is taken whole", async () => {
    const linux = makeKernel();
    new DataView(linux.buffer).setUint16(128 + 4, machines.riscv64, true);
    const make = (length: number): Promise<unknown> =>
      createUki(input({ linux: memorySource(linux), commandLine: "x".repeat(length) }, { machine: machines.riscv64 }));
    await expect(make(1024)).rejects.toThrow(/1 to 1023/);
    await make(1023);
  });
});

function withUint16(bytes: Uint8Array, at: number, value: number): Uint8Array {
  new DataView(bytes.buffer).setUint16(at, value, true);
  return bytes;
}

describe("kernelRelease", () => {
  const image = (magic: string, banner: string): Uint8Array => {
    const bytes = new Uint8Array(300_000);
    bytes.set(text(magic), 0x38);
    // Across the border of two pieces that are read.
    bytes.set(text(banner), (1 << 18) - 20);
    return bytes;
  };
  const banner = "Linux version 6.12.5-arm64 (debian-kernel@lists.debian.org) (gcc) #1 SMP\n";
  const zboot = (payload: Uint8Array, name: string, size = payload.length): Uint8Array => {
    const bytes = new Uint8Array(64 + payload.length);
    bytes.set(text("MZ\0\0zimg"));
    new DataView(bytes.buffer).setUint32(8, 64, true);
    new DataView(bytes.buffer).setUint32(12, size, true);
    bytes.set(text(name), 24);
    bytes.set(payload, 64);
    return bytes;
  };
  test.each<[what: string, bytes: Uint8Array, release: string | undefined]>([
    ["a bzImage", makeKernel("6.1.0-56-cloud-amd64"), "6.1.0-56-cloud-amd64"],
    ["a bzImage without a version", withUint16(makeKernel(), 0x20e, 0), undefined],
    ["a bzImage with another text there", makeKernel("no version"), undefined],
    ["an Image of arm64", image("ARMd", banner), "6.12.5-arm64"],
    ["an Image of riscv64", image("RSC\u0005", banner), "6.12.5-arm64"],
    ["an Image without a banner", image("ARMd", "Linux version "), undefined],
    ["a zboot image in gzip", zboot(new Uint8Array(gzipSync(image("ARMd", banner))), "gzip"), "6.12.5-arm64"],
    ["a zboot image in lzma, which is not read", zboot(new Uint8Array(10), "lzma"), undefined],
    ["another file", new Uint8Array(5000), undefined],
    ["no file", new Uint8Array(0), undefined],
  ])("%s", async (_, bytes, release) => {
    expect(await kernelRelease(memorySource(bytes))).toBe(release);
  });

  test("a zboot image that is cut short is refused", async () => {
    await expect(kernelRelease(memorySource(zboot(new Uint8Array(10), "gzip", 11)))).rejects.toMatchObject({ code: "KERNEL_CORRUPT" });
  });
});
