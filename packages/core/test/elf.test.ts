import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { ImgkitError, memorySource } from "@imgkit/bytes";
import { describe, expect, test } from "vitest";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { oracle } from "../../../test/oracle.ts";
import { readElfLinks, readElfSections } from "../src/elf.ts";

/** What readelf says of a file, in the form of `readElfLinks`. */
function readelf(file: string): object {
  const shown = execFileSync("readelf", ["-W", "-d", "-l", file], { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });
  const all = (pattern: RegExp): string[] => [...shown.matchAll(pattern)].map((match) => match[1] ?? "");
  return {
    shared: /^Elf file type is DYN/m.test(shown),
    soname: all(/\(SONAME\).*\[(.*)\]/g)[0],
    interpreter: all(/interpreter: ([^\]]+)\]/g)[0],
    needed: all(/\(NEEDED\).*\[(.*)\]/g),
    rpath: all(/\(RPATH\).*\[(.*)\]/g).flatMap((path) => path.split(":")),
    runpath: all(/\(RUNPATH\).*\[(.*)\]/g).flatMap((path) => path.split(":")),
  };
}

describe("what an ELF file is linked with", () => {
  oracle("readelf")("is what readelf shows, of every program and library of a folder", async () => {
    const folder = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"].find(existsSync) ?? "/usr/lib";
    const libraries = readdirSync(folder)
      .filter((name) => name.includes(".so"))
      .slice(0, 25);
    const files = [process.execPath, "/bin/sh", "/sbin/veritysetup", ...libraries.map((name) => `${folder}/${name}`)].filter(existsSync);
    let compared = 0;
    for (const file of new Set(files.map((name) => realpathSync(name)))) {
      const links = await readElfLinks(memorySource(readFileSync(file)));
      // A linker script is no ELF file.
      if (links === undefined) continue;
      const { abi, ...rest } = links;
      expect(abi).toMatch(/^64le-(62|183|243)$/);
      expect([file, rest]).toEqual([file, readelf(file)]);
      compared += 1;
    }
    expect(compared).toBeGreaterThan(5);
  });

  test.each<[claim: string, bytes: Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["a text", new TextEncoder().encode("#!/bin/sh\n".repeat(20))],
    ["the magic number alone", Uint8Array.of(0x7f, 0x45, 0x4c, 0x46)],
    ["a header of zeros", Uint8Array.from({ length: 100 }, (_, i) => [0x7f, 0x45, 0x4c, 0x46, 2, 1][i] ?? 0)],
  ])("%s is none", async (_, bytes) => {
    expect(await readElfLinks(memorySource(bytes))).toBeUndefined();
    expect(await readElfSections(memorySource(bytes))).toBeUndefined();
  });

  oracle("readelf")("mutated files are read or found to be none", async () => {
    const whole = readFileSync(realpathSync("/bin/sh"));
    const bytes = new Uint8Array(whole.buffer, whole.byteOffset, Math.min(whole.length, 1 << 21));
    const random = new DataView(pseudoRandomBytes(0xe1f, 1 << 16).buffer);
    let next = 0;
    const draw = (limit: number): number => {
      next = (next + 4) % random.byteLength;
      return random.getUint32(next, true) % limit;
    };
    const outcomes = { read: 0, none: 0 };
    const places = bytes.slice(0, 1024);
    for (let i = 0; i < 1500; i++) {
      bytes.set(places);
      for (let count = draw(4); count >= 0; count--) bytes[draw(1024)] = [0, 0xff, 0x7f, 0x80, draw(256)][draw(5)] ?? 0;
      try {
        for (const read of [readElfLinks, readElfSections]) outcomes[(await read(memorySource(bytes))) === undefined ? "none" : "read"] += 1;
      } catch (error) {
        if (!(error instanceof ImgkitError)) throw error;
      }
    }
    bytes.set(places);
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(100);
  });
});
