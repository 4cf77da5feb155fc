import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { memorySource } from "@imgkit/bytes";
import { decompress } from "@imgkit/compress";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { type Decompress, explainContent, explainTrees, type FoundCause, noXattrs, Tree } from "../src/index.ts";

// Each rule, with inputs that the tools themselves made differ; and that none of them claims what it does not know.

const folder = fs.mkdtempSync(join(os.tmpdir(), "imgkit-explain-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

function tree(path: string, content: Uint8Array): Tree {
  return Tree.from([{ type: "file", path, mode: 0o644, uid: 0, gid: 0, mtime: 0n, xattrs: noXattrs, content: memorySource(content) }]);
}

type Content = Uint8Array | string;
const bytes = (content: Content): Uint8Array => (typeof content === "string" ? new TextEncoder().encode(content) : content);

async function causes(path: string, a: Content, b: Content): Promise<readonly FoundCause[]> {
  const { differences } = await explainTrees(tree(path, bytes(a)), tree(path, bytes(b)));
  expect(differences.map(({ difference }) => difference.kind)).toEqual(["content"]);
  return differences[0]?.causes ?? [];
}

async function codes(path: string, a: Content, b: Content): Promise<string[]> {
  const found = await causes(path, a, b);
  for (const { detail } of found) expect(detail).toMatch(/^[^\u0000-\u001f]+$/);
  return found.map(({ code }) => code).sort();
}

/** Runs a shell script in a new folder and returns a file that it made. */
function made(script: string, file = "out"): Buffer {
  const place = fs.mkdtempSync(join(folder, "made-"));
  execFileSync("sh", ["-e"], { cwd: place, input: script, env: { ...process.env, TZ: "UTC", LC_ALL: "C" } });
  return fs.readFileSync(join(place, file));
}

/** The same script with each of two words for `@`. */
const twice = (script: string, a: string, b: string): [Buffer, Buffer] => [made(script.replaceAll("@", a)), made(script.replaceAll("@", b))];

describe("compressed", () => {
  const source = "seq 1 2000 > in; touch -d 2023-11-@ in;";

  oracle("gzip")("gzip: a time in the header", async () => {
    expect(await codes("a.gz", ...twice(`${source} gzip in; mv in.gz out`, "01", "02"))).toEqual(["gzip-time"]);
  });

  oracle("gzip")("gzip: a time and a name in the header", async () => {
    const found = await causes("a.gz", made("seq 9 > in; touch -d @1700000000 in; gzip in", "in.gz"), made("seq 9 | gzip -n > out"));
    expect(found).toEqual([
      { code: "gzip-time", detail: "time 1700000000 and 0" },
      { code: "gzip-name", detail: 'name "in" and ""' },
    ]);
  });

  oracle("gzip")("gzip: another level", async () => {
    expect(await codes("a.gz", ...twice("seq 1 5000 | gzip -n@ > out", "1", "9"))).toEqual(["gzip-writer", "other-compression"]);
  });

  oracle("gzip")("gzip: a date inside, and a time in the header", async () => {
    const script = "echo 'Built on Tue Nov @ 12:00:00 UTC 2023' > in; touch -d 2023-11-@ in; gzip in; mv in.gz out";
    const found = await causes("usr/share/doc/x/changelog.gz", ...twice(script, "14", "15"));
    expect(found.map(({ code }) => code)).toEqual(["gzip-time", "embedded-date"]);
    expect(found[1]?.detail).toMatch(/^in decompressed: line 1: .*Nov 14.* and .*Nov 15/);
  });

  oracle(
    "xz",
    "zstd",
    "gzip",
  )("one content in xz, zstd and gzip", async () => {
    const files = ["xz", "zstd", "gzip -n"].map((tool) => made(`seq 1 2000 | ${tool} > out`));
    for (const [a, b] of [
      [0, 1],
      [1, 2],
      [0, 2],
    ] as const) {
      expect(await codes("a", files[a] as Buffer, files[b] as Buffer)).toEqual(["other-compression"]);
    }
  });

  oracle("xz")("xz: another level; another content", async () => {
    expect(await codes("a.xz", ...twice("seq 1 200000 | xz @ > out", "-0", "-6"))).toEqual(["other-compression"]);
    expect(await codes("a.xz", ...twice("echo value=@ | xz > out", "alpha", "beta"))).toEqual(["unknown"]);
  });

  test("damaged data are unknown, and say so", async () => {
    const good = gzipSync(Buffer.from("content".repeat(100)));
    const bad = Buffer.from(good);
    bad[14] = (bad[14] ?? 0) ^ 0xff;
    const [found] = await causes("a.gz", good, bad);
    expect(found).toMatchObject({ code: "unknown", detail: expect.stringMatching(/cannot be decompressed/) });
  });
});

describe("archives", () => {
  const library = "echo 'int f(void) { return 1; }' > f.c; gcc -c f.c; touch -d 2023-11-@ f.o; rm -f out; ar rcU out f.o;";

  oracle("ar", "gcc")("ar: a member's date, owner and mode", async () => {
    expect(await codes("usr/lib/libf.a", ...twice(library, "01", "02"))).toEqual(["ar-time"]);
    expect(await codes("usr/lib/libf.a", made(library.replaceAll("@", "01")), made(library.replace("ar rcU", "ar rcD").replaceAll("@", "01")))).toContain(
      "ar-time",
    );
    expect(await codes("usr/lib/libf.a", ...twice("echo x > f; chmod @ f; touch -d 2023-11-01 f; ar rcU out f", "600", "644"))).toEqual(["ar-owner"]);
  });

  oracle("ar", "gzip")("ar: what differs in a member is looked into", async () => {
    const deb = "touch -d 2023-11-@ control; gzip control; ar rcD out control.gz";
    const found = await causes("a.deb", ...twice(`echo Package: x > control; ${deb}`, "01", "02"));
    expect(found.map(({ code }) => code)).toEqual(["gzip-time"]);
    expect(found[0]?.detail).toMatch(/^in control\.gz\/: time /);
  });

  const zip = (files: string, stamp: string, mode = "0o644", packed = "ZIP_DEFLATED"): string => `python3 - <<'END'
import zipfile
with zipfile.ZipFile("out", "w") as z:
    for name, text in ${files}:
        info = zipfile.ZipInfo(name, ${stamp})
        info.external_attr = ${mode} << 16
        info.compress_type = zipfile.${packed}
        z.writestr(info, text)
END`;
  const files = '[("b", "b" * 500), ("a", "Date: 2023-11-14")]';
  const stamp = "(2023, 11, 14, 22, 13, 20)";
  const cases: [string, string[], string][] = [
    ["times", ["zip-time"], zip(files, "(2024, 1, 1, 0, 0, 0)")],
    ["order", ["zip-order"], zip('[("a", "Date: 2023-11-14"), ("b", "b" * 500)]', stamp)],
    ["modes", ["zip-attributes"], zip(files, stamp, "0o600")],
    ["compression", ["other-compression"], zip(files, stamp, "0o644", "ZIP_STORED")],
    ["a date in an entry", ["embedded-date"], zip(files.replace("11-14", "12-24"), stamp)],
    ["another entry", ["unknown"], zip('[("b", "b" * 500), ("c", "Date: 2023-11-14")]', stamp)],
  ];
  oracle("python3").each(cases)("zip: %s", async (_, expected, other) => {
    expect(await codes("a.jar", made(zip(files, stamp)), made(other))).toEqual(expected);
  });
});

describe("Python caches", () => {
  const source = "x = 1\ndef f():\n    return 'text'\n";
  const compile = (when: string, mode: string, place = "m.py"): Buffer =>
    made(`mkdir -p "$(dirname ${place})"; printf "${source.replaceAll("\n", "\\n")}" > ${place}; touch -d ${when} ${place}
python3 -c 'import py_compile as p; p.compile("${place}", cfile="out", invalidation_mode=p.PycInvalidationMode.${mode})'`);
  const path = "usr/lib/python3/m.cpython-311.pyc";

  oracle("python3")("the time of the source", async () => {
    expect(await causes(path, compile("@1700000000", "TIMESTAMP"), compile("@1700003600", "TIMESTAMP"))).toEqual([
      { code: "pyc-time", detail: "time 1700000000 and 1700003600" },
    ]);
  });

  oracle("python3")("another invalidation mode, another version", async () => {
    const good = compile("@1700000000", "TIMESTAMP");
    expect(await codes(path, good, compile("@1700000000", "UNCHECKED_HASH"))).toEqual(["pyc-mode"]);
    const other = Buffer.from(good);
    other[0] = (other[0] ?? 0) + 1;
    expect(await codes(path, good, other)).toEqual(["pyc-version"]);
  });

  oracle("python3")("the path of the build in the code", async () => {
    const [a, b] = [compile("@1700000000", "UNCHECKED_HASH", "build/one/m.py"), compile("@1700000000", "UNCHECKED_HASH", "build/two/m.py")];
    expect(await codes(path, a, b)).toEqual(["embedded-path"]);
  });

  oracle("python3")("marshal's reference marks", async () => {
    const good = compile("@1700000000", "UNCHECKED_HASH");
    const other = Buffer.from(good);
    other[16] = (other[16] ?? 0) ^ 0x80;
    expect(await codes(path, good, other)).toEqual(["pyc-marshal"]);
  });

  const cached = "usr/lib/__pycache__/m.cpython-311.pyc";

  oracle("python3")("in __pycache__ too it is said what differs inside", async () => {
    expect(await codes(cached, compile("@1700000000", "TIMESTAMP"), compile("@1700003600", "TIMESTAMP"))).toEqual(["pyc-time"]);
  });

  test("where nothing is known of the inside, the path tells", async () => {
    expect(await codes(cached, "1", "2")).toEqual(["derived-cache"]);
  });
});

describe("ELF files", () => {
  const build = (body: string, flags: string, place = "p"): Buffer =>
    made(`mkdir -p ${place}; cat > ${place}/m.c <<'END'\n${body}\nEND\ngcc ${flags} -o out "$PWD/${place}/m.c"`);
  const main = "int main(void) { return 0; }";

  oracle("gcc")("the build id alone", async () => {
    const [a, b] = ["00112233", "44556677"].map((id) => build(main, `-s -Wl,--build-id=0x${id}`)) as [Buffer, Buffer];
    expect(await causes("usr/bin/p", a, b)).toEqual([{ code: "elf-build-id", detail: "build id 00112233 and 44556677" }]);
  });

  oracle("gcc")("a date in the text", async () => {
    const program = (date: string): string => `#include <stdio.h>\nint main(void) { puts("built ${date}"); return 0; }`;
    const [a, b] = ["Nov 14 2023 22:13:20", "Dec 24 2023 23:59:59"].map((date) => build(program(date), "-s -Wl,--build-id=none")) as [Buffer, Buffer];
    expect(await codes("usr/bin/p", a, b)).toEqual(["embedded-date"]);
  });

  oracle("gcc")("debug sections that name the folder of the build", async () => {
    const [a, b] = ["folder-one", "two"].map((place) => build(main, "-g -Wl,--build-id=none", place)) as [Buffer, Buffer];
    expect(await codes("usr/bin/p", a, b)).toEqual(["elf-debug"]);
  });

  oracle("gcc")("other code is unknown, and says in which section", async () => {
    const [a, b] = ["0", "7"].map((value) => build(main.replace("0", value), "-s -Wl,--build-id=none")) as [Buffer, Buffer];
    const found = await causes("usr/bin/p", a, b);
    expect(found).toEqual([{ code: "unknown", detail: expect.stringMatching(/^section \.text, from byte \d+ on$/) }]);
  });
});

describe("text", () => {
  test.each<[string, string, string, string[]]>([
    ["ISO dates", "a\nmade 2023-11-14T22:13:20Z\nb\n", "a\nmade 2023-12-24T01:02:03Z\nb\n", ["embedded-date"]],
    ["dates as date(1) prints them", "Tue Nov 14 22:13:20 UTC 2023\n", "Sun Dec  3 01:02:03 CEST 2023\n", ["embedded-date"]],
    ["dates as RFC 2822 has them", "Date: Tue, 14 Nov 2023 22:13:20 +0000\n", "Date: Sun, 3 Dec 2023 01:02:03 +0100\n", ["embedded-date"]],
    ["a manual page's date", '.TH LS 1 "November 2023" "x"\n', '.TH LS 1 "January 2024" "x"\n', ["embedded-date"]],
    ["seconds since 1970", "built=1700000000\n", "built=1700003600\n", ["embedded-date"]],
    ["the year", "Copyright 2023 x\n", "Copyright 2024 x\n", ["embedded-date"]],
    ["the path of the build", "srcdir=/build/one-Xyz/src/lib\n", "srcdir=/tmp/two/lib\n", ["embedded-path"]],
    ["a UUID", "id 01234567-89ab-cdef-0123-456789abcdef\n", "id 11234567-89ab-cdef-0123-456789abcdef\n", ["embedded-id"]],
    ["a hash", "sha 0123456789abcdef0123\n", "sha fedcba98765432100123\n", ["embedded-id"]],
    ["a date and a path in one line", "/build/a/x at 2023-11-14\n", "/srv/b/x at 2023-12-24\n", ["embedded-date", "embedded-path"]],
    ["the order of lines", "one\ntwo\nthree\n", "two\none\nthree\n", ["line-order"]],
    ["the ends of lines", "one\ntwo\n", "one\r\ntwo\r\n", ["line-endings"]],
    ["other words", "one\n", "two\n", ["unknown"]],
    ["a date in one line, other words in the next", "2023-11-14\none\n", "2023-12-24\ntwo\n", ["embedded-date", "unknown"]],
    ["a path to another file", "see /usr/bin/one\n", "see /usr/bin/two\n", ["unknown"]],
    ["a version", "version 1.2\n", "version 1.3\n", ["unknown"]],
    ["one line more", "one\n", "one\ntwo\n", ["unknown"]],
    ["nothing and something", "", "x", ["unknown"]],
    ["a date amid bytes", "\0\u0001 22:13:20 \0", "\0\u0001 01:02:03 \0", ["embedded-date"]],
    ["bytes", "\0\u0001", "\0\u0002", ["unknown"]],
  ])("%s", async (_, a, b, expected) => {
    expect(await codes("usr/share/text", a, b)).toEqual(expected);
    expect(await codes("usr/share/text", b, a)).toEqual(expected);
  });

  test("unknown content is told with the offset, the sizes and the kind of file", async () => {
    expect(await causes("x", "\u007fELF\0\0one", "\u007fELF\0\0two!")).toEqual([{ code: "unknown", detail: "an ELF file, from byte 6 on (9 and 10 bytes)" }]);
  });
});

describe("paths that tell", () => {
  test.each<[string, string]>([
    ["etc/machine-id", "scrubbed"],
    ["var/cache/ldconfig/aux-cache", "scrubbed"],
    ["var/log/dpkg.log", "scrubbed"],
    ["var/cache/apt/pkgcache.bin", "scrubbed"],
    ["etc/ssh/ssh_host_ed25519_key.pub", "ssh-host-key"],
    ["etc/nvme/hostid", "random-identity"],
    ["var/lib/systemd/random-seed", "random-identity"],
    ["etc/hostname", "host-network"],
    ["etc/resolv.conf", "host-network"],
    ["var/log/fontconfig.log", "build-log"],
    ["var/lib/dkms/x/1/build/make.log", "build-log"],
    ["etc/ld.so.cache", "derived-cache"],
    ["var/cache/fontconfig/0123-le64.cache-8", "derived-cache"],
    ["usr/share/mime/mime.cache", "derived-cache"],
    ["usr/share/icons/hicolor/icon-theme.cache", "derived-cache"],
    ["var/cache/man/index.db", "derived-cache"],
    ["boot/initrd.img-6.1.0-13-amd64", "derived-cache"],
    ["etc/passwd-", "backup-file"],
    ["etc/shadow-", "backup-file"],
    ["var/lib/dpkg/status-old", "backup-file"],
    ["var/lib/dpkg/status", "package-state"],
  ])("%s: %s", async (path, expected) => {
    expect(await codes(path, "one", "two")).toEqual([expected]);
  });

  test("/etc/shadow: the day of the last change, and nothing else", async () => {
    const shadow = (day: number, hash = "*"): string => `root:${hash}:${day}:0:99999:7:::\nbin:*:${day}:0:99999:7:::\n`;
    expect(await causes("etc/shadow", shadow(19675), shadow(19676))).toEqual([{ code: "shadow-date", detail: "line 1: day 19675 and 19676" }]);
    expect(await codes("etc/shadow", shadow(19675), shadow(19676, "!"))).toEqual(["unknown"]);
  });
});

test("an archive of any number of compressed members costs what a few cost", async () => {
  const archive = (last: string): Buffer => {
    const data = gzipSync(`value ${last}`);
    const header = Buffer.from(`${"f/".padEnd(16)}${"0".padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"644".padEnd(8)}${String(data.length).padEnd(10)}\`\n`);
    const member = Buffer.concat([header, data, Buffer.alloc(data.length % 2)]);
    return Buffer.concat([Buffer.from("!<arch>\n"), ...Array.from({ length: 1000 }, () => member)]);
  };
  let decompressed = 0;
  const counted: Decompress = (stream, options) => {
    decompressed++;
    return decompress(stream, options);
  };
  const pair = { path: "a.a", a: memorySource(archive("one")), b: memorySource(archive("two")) };
  expect((await explainContent(pair, 0, counted)).map(({ code }) => code)).toEqual(["unknown"]);
  expect(decompressed).toBeLessThanOrEqual(200);
});

test("whatever bytes differ, there is at least one cause, and the same for the same pair", async () => {
  const heads = ["", "\u001f\u008b\u0008", "!<arch>\n", "PK\u0003\u0004", "\u007fELF\u0002\u0001", "(\u00b5/\u00fd", "\u00fd7zXZ\0"].map((text) =>
    Uint8Array.from(text, (c) => c.charCodeAt(0)),
  );
  const content = fc.tuple(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 300 })).map(([head, rest]) => Uint8Array.from([...head, ...rest]));
  const name = fc.constantFrom("x", "x.pyc", "etc/shadow", "x.gz");
  await fc.assert(
    fc.asyncProperty(name, content, content, async (path, a, b) => {
      fc.pre(!Buffer.from(a).equals(Buffer.from(b)));
      const found = await causes(path, a, b);
      expect(found.length).toBeGreaterThan(0);
      expect(await causes(path, a, b)).toEqual(found);
    }),
    { numRuns: 300 },
  );
});
