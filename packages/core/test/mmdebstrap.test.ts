import { execFile, execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect } from "@imgkit/bytes";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { type MmdebstrapOptions, mmdebstrapVersion, runMmdebstrap } from "../src/mmdebstrap.node.ts";
import { mmdebstrapArguments, parseMmdebstrapSpec } from "../src/mmdebstrap.ts";

const epoch = 1_700_000_000;

describe("a spec is what mmdebstrap is asked for", () => {
  const accepted: [string, string[]][] = [
    ["mmdebstrap:bookworm", ["--format=tar", "--", "bookworm", "-"]],
    ["mmdebstrap:trixie?variant=-", ["--format=tar", "--variant=-", "--", "trixie", "-"]],
    [
      "mmdebstrap:bookworm?include=ca-certificates,libstdc++6&variant=minbase&include=g%2B%2B",
      ["--format=tar", "--variant=minbase", "--include=ca-certificates,libstdc++6,g++", "--", "bookworm", "-"],
    ],
    [
      "mmdebstrap:stable/updates?architecture=arm64,armhf&components=main,non-free-firmware&mode=unshare&keyring=/k/a.gpg",
      [
        ...["--format=tar", "--mode=unshare", "--components=main,non-free-firmware", "--architectures=arm64,armhf", "--keyring=/k/a.gpg"],
        ...["--", "stable/updates", "-"],
      ],
    ],
    [
      "mmdebstrap:bookworm?mirror=http://a.example/debian?x=1&mirror=deb%20[check-valid-until=no%20signed-by=/k.gpg]%20https://b.example/d%20bookworm%20main",
      ["--format=tar", "--", "bookworm", "-", "http://a.example/debian?x=1", "deb [check-valid-until=no signed-by=/k.gpg] https://b.example/d bookworm main"],
    ],
    ["mmdebstrap:sid?include=vim=2:9.1-1~bpo12+1,dpkg:arm64,apt/sid", ["--format=tar", "--include=vim=2:9.1-1~bpo12+1,dpkg:arm64,apt/sid", "--", "sid", "-"]],
  ];
  test.each(accepted)("%s", (text, args) => expect(mmdebstrapArguments(parseMmdebstrapSpec(text))).toEqual(args));

  const refused: [string, string | undefined][] = [
    ["bookworm", undefined],
    ["mmdebstrap:", "suite"],
    ["mmdebstrap:?variant=apt", "suite"],
    ["mmdebstrap:--help", "suite"],
    ["mmdebstrap:-h", "suite"],
    ["mmdebstrap:%2d-help", "suite"],
    ["mmdebstrap:../x", "suite"],
    ["mmdebstrap:x/../y", "suite"],
    ["mmdebstrap:a b", "suite"],
    ["mmdebstrap:a%0ab", "suite"],
    ["mmdebstrap:%ff", "suite"],
    ["mmdebstrap:a?", "key"],
    ["mmdebstrap:a?customize-hook=id", "key"],
    ["mmdebstrap:a?aptopt=x", "key"],
    ["mmdebstrap:a?dpkgopt=x", "key"],
    ["mmdebstrap:a?constructor=x", "key"],
    ["mmdebstrap:a?Variant=apt", "key"],
    ["mmdebstrap:a?variant", "variant"],
    ["mmdebstrap:a?variant=all", "variant"],
    ["mmdebstrap:a?variant=apt&variant=apt", "variant"],
    ["mmdebstrap:a?mode=chrootless", "mode"],
    ["mmdebstrap:a?include=", "include"],
    ["mmdebstrap:a?include=--x", "include"],
    ["mmdebstrap:a?include=vim,,nano", "include"],
    ["mmdebstrap:a?include=./x.deb", "include"],
    ["mmdebstrap:a?include=/x.deb", "include"],
    ["mmdebstrap:a?include=?essential", "include"],
    ["mmdebstrap:a?include=vim%20nano", "include"],
    ["mmdebstrap:a?components=main%0adeb", "components"],
    ["mmdebstrap:a?architecture=--x", "architecture"],
    ["mmdebstrap:a?keyring=k.gpg", "keyring"],
    ["mmdebstrap:a?keyring=/k%22.gpg", "keyring"],
    ["mmdebstrap:a?mirror=-", "mirror"],
    ["mmdebstrap:a?mirror=--setup-hook=id", "mirror"],
    ["mmdebstrap:a?mirror=/etc/passwd", "mirror"],
    ["mmdebstrap:a?mirror=ssh://x/y", "mirror"],
    ["mmdebstrap:a?mirror=http://x/y%20trusted", "mirror"],
    ["mmdebstrap:a?mirror=http://x/y%0adeb%20[trusted=yes]%20http://z/%20a%20main", "mirror"],
    ["mmdebstrap:a?mirror=deb%20[trusted=yes]%20http://x/%20a%20main", "mirror"],
    ["mmdebstrap:a?mirror=deb%20[arch=amd64%20trusted=yes]%20http://x/%20a%20main", "mirror"],
    ["mmdebstrap:a?mirror=deb%20rsh://x/%20a%20main", "mirror"],
    ["mmdebstrap:a?mirror=%", "mirror"],
  ];
  test.each(refused)("%s is refused", (text, field) => {
    expect(() => parseMmdebstrapSpec(text)).toThrow(
      expect.objectContaining({ code: "BAD_SOURCE", kind: "input", facts: expect.objectContaining(field === undefined ? {} : { field }) }),
    );
  });

  test("an unknown key is told which are known", () => {
    expect(() => parseMmdebstrapSpec("mmdebstrap:a?hook=x")).toThrow(/variant, include, mirror, components, architecture, keyring, mode.*"hook"/);
  });
});

describe("whatever mmdebstrap does", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "imgkit-mmdebstrap-"));
    mkdirSync(join(folder, "bin"));
    mkdirSync(join(folder, "tmp"));
  });
  afterEach(() => {
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(folder);
    rmSync(folder, { recursive: true, force: true });
  });

  /** A mmdebstrap that does this, and the options with which it is found. */
  function fake(...script: string[]): MmdebstrapOptions {
    writeFileSync(join(folder, "bin", "mmdebstrap"), `#!/bin/sh\n${script.join("\n")}\n`);
    chmodSync(join(folder, "bin", "mmdebstrap"), 0o755);
    return { epoch, env: { PATH: `${join(folder, "bin")}:${process.env.PATH}`, TMPDIR: join(folder, "tmp") } };
  }
  const run = async (options: MmdebstrapOptions): Promise<string> =>
    new TextDecoder().decode(await collect(runMmdebstrap("mmdebstrap:bookworm?variant=apt", options)));
  const tick = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const pid = (): number => Number(readFileSync(join(folder, "pid"), "utf8"));
  const alive = (id: number): boolean => existsSync(`/proc/${id}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${id}/status`, "utf8"));
  async function gone(id: number): Promise<boolean> {
    for (let i = 0; i < 100 && alive(id); i++) await tick(20);
    return !alive(id);
  }

  test("it gets the arguments, the epoch, and of the environment nothing that is not named", async () => {
    const options = fake('printf "%s\\n" "$@"', "env | sort");
    const env: Record<string, string | undefined> = {
      ...options.env,
      HOME: "/home/x",
      LANG: "de_DE.UTF-8",
      SECRET: "x",
      MMDEBSTRAP_HOOK: "x",
      APT_CONFIG: "x",
      https_proxy: "http://p:1",
      NO_PROXY: "a",
    };
    const lines = (await run({ ...options, env })).trim().split("\n");
    expect(lines.filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line))).toEqual([
      ...["--format=tar", "--variant=apt", "--", "bookworm", "-"],
      ...[
        "HOME=/home/x",
        "LC_ALL=C",
        "NO_PROXY=a",
        `PATH=${env.PATH}`,
        "SOURCE_DATE_EPOCH=1700000000",
        expect.stringMatching(`^TMPDIR=${env.TMPDIR}/imgkit-mmdebstrap-......$`),
        "https_proxy=http://p:1",
      ],
    ]);
  });

  test("what it writes comes through whole, and what it says comes as lines", async () => {
    const lines: string[] = [];
    const options = fake('printf "I: one\\nI: t" >&2', "head -c 3000000 /dev/zero | tr '\\0' x", 'printf "wo\\r50 %%\\r100 %%\\n" >&2');
    expect((await run({ ...options, onLog: (line) => lines.push(line) })) === "x".repeat(3_000_000)).toBe(true);
    expect(lines).toEqual(["I: one", "I: two", "50 %", "100 %"]);
  });

  const failures: [string, string[], RegExp, RegExp][] = [
    [
      "apt's first errors are told, not that apt failed",
      [
        "echo 'I: running' >&2; echo 'E: Unable to locate package x' >&2; echo 'E: apt-get install x failed' >&2; echo 'E: mmdebstrap failed to run' >&2; exit 25",
      ],
      /failed with exit code 25: Unable to locate package x\. /,
      /include=/,
    ],
    [
      "a suite that is not there",
      ["echo \"E: The repository 'http://x a Release' does not have a Release file.\" >&2; exit 1"],
      /does not have a Release file/,
      /suite's name/,
    ],
    ["an unsigned mirror", ["echo 'E: The following signatures: NO_PUBKEY 1' >&2; exit 1"], /NO_PUBKEY/, /keyring/],
    ["last words without a newline", ["echo 'I: x' >&2; printf 'cannot find perl' >&2; exit 2"], /exit code 2: cannot find perl/, /mmdebstrap itself/],
    ["no words", ["exit 3"], /exit code 3: it printed no reason/, /mmdebstrap itself/],
    ["a signal", ["kill -9 $$"], /signal SIGKILL/, /mmdebstrap itself/],
    ["after output", ["echo data; echo 'E: disk full' >&2; exit 1"], /disk full/, /mmdebstrap itself/],
    ["a terminal's escapes", ["printf 'E: a\\033[2Jb\\n' >&2; exit 1"], /a\\x1b\[2Jb/, /mmdebstrap itself/],
  ];
  test.each(failures)("its failure is one typed line: %s", async (_, script, sentence, hint) => {
    await expect(run(fake(...script))).rejects.toMatchObject({
      code: "TOOL_FAILED",
      kind: "system",
      message: expect.stringMatching(sentence),
      facts: { hint: expect.stringMatching(hint) },
    });
  });

  test("where it is not installed, the error says what to install", async () => {
    const options = { epoch, env: { PATH: join(folder, "bin") } };
    await expect(run(options)).rejects.toMatchObject({
      code: "TOOL_MISSING",
      kind: "system",
      facts: { hint: expect.stringContaining("apt install mmdebstrap") },
    });
    await expect(mmdebstrapVersion(options.env)).rejects.toMatchObject({ code: "TOOL_MISSING" });
  });

  test("a file of its name that may not be run is a failure", async () => {
    const options = fake("exit 0");
    chmodSync(join(folder, "bin", "mmdebstrap"), 0o644);
    await expect(run({ ...options, env: { PATH: join(folder, "bin") } })).rejects.toMatchObject({
      code: "TOOL_FAILED",
      message: expect.stringContaining("EACCES"),
    });
  });

  test("a bad epoch or spec starts nothing", async () => {
    const options = fake(`touch ${join(folder, "ran")}`);
    await expect(run({ ...options, epoch: -1 })).rejects.toMatchObject({ code: "BAD_EPOCH" });
    await expect(collect(runMmdebstrap("mmdebstrap:-x", options))).rejects.toMatchObject({ code: "BAD_SOURCE" });
    await expect(run({ ...options, signal: AbortSignal.abort(new Error("stop")) })).rejects.toThrow("stop");
    expect(existsSync(join(folder, "ran"))).toBe(false);
  });

  const child = ['sleep 1000 & echo $! > "$TMPDIR/../../pid"', "echo data", "wait"];

  test("when its reader stops early, it and its children are ended before the stream is", async () => {
    for await (const chunk of runMmdebstrap("mmdebstrap:bookworm", fake(...child))) {
      expect(new TextDecoder().decode(chunk)).toBe("data\n");
      break;
    }
    expect(await gone(pid())).toBe(true);
  });

  test("an abort ends it and its children, and the stream throws the reason", async () => {
    const stop = new AbortController();
    const stream = runMmdebstrap("mmdebstrap:bookworm", { ...fake(...child), signal: stop.signal });
    await stream.next();
    stop.abort(new Error("enough"));
    await expect(stream.next()).rejects.toThrow("enough");
    expect(await gone(pid())).toBe(true);
    expect((await stream.next()).done).toBe(true);
  });

  test("an abort ends it while nobody reads", async () => {
    const stop = new AbortController();
    const stream = runMmdebstrap("mmdebstrap:bookworm", { ...fake(...child), signal: stop.signal });
    await stream.next();
    stop.abort();
    expect(await gone(pid())).toBe(true);
    await expect(stream.next()).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
  });

  test("it has time to clean up", async () => {
    const options = fake(`trap 'sleep 0.3; touch ${join(folder, "cleaned")}; exit 1' TERM`, "echo data", "while :; do sleep 0.05; done");
    for await (const _ of runMmdebstrap("mmdebstrap:bookworm", options)) break;
    expect(existsSync(join(folder, "cleaned"))).toBe(true);
  });

  test("one that does not listen is killed, and its temporary files removed", async () => {
    const options = fake(
      "trap '' TERM PIPE",
      'mkdir -p "$TMPDIR/mmdebstrap.x/dev"; touch "$TMPDIR/mmdebstrap.x/dev/x"',
      `echo data; echo $$ > ${join(folder, "pid")}; while :; do sleep 0.05; done`,
    );
    for await (const _ of runMmdebstrap("mmdebstrap:bookworm", { ...options, graceTime: 300 })) break;
    expect(await gone(pid())).toBe(true);
    expect(readdirSync(join(folder, "tmp"))).toEqual([]);
  });

  oracleRoot("mount")("temporary files with something mounted among them are left, and said to be", async () => {
    const lines: string[] = [];
    const other = join(folder, "other");
    mkdirSync(other);
    writeFileSync(join(other, "precious"), "");
    const options = fake(`mkdir "$TMPDIR/m"; mount --bind ${other} "$TMPDIR/m"; echo "$TMPDIR"`);
    const scratch = (await run({ ...options, onLog: (line) => lines.push(line) })).trim();
    execFileSync("umount", [join(scratch, "m")]);
    expect(readdirSync(other)).toEqual(["precious"]);
    expect(lines).toEqual([`W: ${scratch} is left behind: something is mounted in it`]);
  });

  test("a missing folder for temporary files is named", async () => {
    const options = fake("exit 0");
    const missing = { ...options, env: { ...options.env, TMPDIR: join(folder, "missing") } };
    await expect(run(missing)).rejects.toMatchObject({ code: "TOOL_FAILED", kind: "system", facts: { path: join(folder, "missing") } });
  });

  test("a child that it leaves behind keeps no pipe open", async () => {
    expect(await run(fake('sleep 1000 & echo $! > "$TMPDIR/../../pid"', "exec 1>&-", "exit 0"))).toBe("");
    expect(await gone(pid())).toBe(true);
  });

  test("no listener stays behind", async () => {
    const stop = new AbortController();
    const before = process.listenerCount("exit");
    await run({ ...fake("echo x"), signal: stop.signal });
    expect(process.listenerCount("exit")).toBe(before);
  });
});

describe("the real one", () => {
  const tiny = "mmdebstrap:bookworm?variant=extract&include=hostname";

  oracle("mmdebstrap")("its stream is what mmdebstrap itself writes, and it leaves nothing behind", async () => {
    const folder = mkdtempSync(join(tmpdir(), "imgkit-mmdebstrap-"));
    try {
      chmodSync(folder, 0o755);
      const direct = new Promise<void>((resolve, reject) => {
        const env = { ...process.env, SOURCE_DATE_EPOCH: String(epoch) };
        const args = ["--quiet", "--variant=extract", "--include=hostname", "bookworm", join(folder, "direct.tar")];
        execFile("mmdebstrap", args, { env }, (error) => (error === null ? resolve() : reject(error)));
      });
      mkdirSync(join(folder, "tmp"));
      const lines: string[] = [];
      const env = { ...process.env, TMPDIR: join(folder, "tmp") };
      const [streamed] = await Promise.all([collect(runMmdebstrap(tiny, { epoch, env, onLog: (line) => lines.push(line) })), direct]);
      expect(Buffer.from(streamed).equals(readFileSync(join(folder, "direct.tar")))).toBe(true);
      expect(lines.some((line) => line.startsWith("I: success"))).toBe(true);
      expect(readdirSync(join(folder, "tmp"))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const phases = ["automatically chosen mode", "finding correct signed-by", "running apt-get update", "extracting archives", "creating tarball"];
  // Early, where no handler of mmdebstrap's own is set yet, and late; the rest in the long run.
  const moments = process.env.IMGKIT_LONG === "1" ? phases : ["finding correct signed-by", "extracting archives"];
  for (const moment of moments)
    oracle("mmdebstrap")(`stopped at "${moment}" it leaves no process, mount or temporary folder`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "imgkit-mmdebstrap-"));
      try {
        chmodSync(folder, 0o755);
        const stop = new AbortController();
        const onLog = (line: string): void => {
          if (line.startsWith(`I: ${moment}`)) stop.abort(new Error("enough"));
        };
        const options = { epoch, env: { ...process.env, TMPDIR: folder }, signal: stop.signal, onLog };
        await expect(collect(runMmdebstrap(tiny, options))).rejects.toThrow("enough");
        expect(readdirSync(folder)).toEqual([]);
        expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(folder);
        expect(execFileSync("ps", ["-eo", "args"], { encoding: "utf8" })).not.toContain(folder);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

  oracle("mmdebstrap")("a package that does not exist is named", async () => {
    const stream = runMmdebstrap("mmdebstrap:bookworm?variant=extract&include=no-such-package", { epoch, env: process.env });
    await expect(collect(stream)).rejects.toMatchObject({ code: "TOOL_FAILED", message: expect.stringContaining("Unable to locate package no-such-package") });
  });

  oracle("mmdebstrap")("its version is a version", async () => {
    expect(await mmdebstrapVersion(process.env)).toMatch(/^\d+\.\d+\.\d+$/);
  });
});
