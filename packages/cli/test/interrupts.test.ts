import { type ChildProcess, execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { command, epoch, finished, imgkit, type Result, Scratch, start } from "./cli.ts";

// A run that is stopped in its middle, and one whose reader goes away.

const scratch = new Scratch("interrupts");
afterAll(() => scratch.remove());

const SIZE = 3 * 2 ** 30;

beforeAll(() => {
  scratch.folder("tree");
  // Holes: they cost no room, and seconds to read and hash.
  fs.truncateSync(scratch.write("tree/large", "x"), SIZE);
  fs.truncateSync(scratch.write("data", "x"), SIZE);
  // Where holes are known, verity does not read them; what is allocated and never written is data.
  if (process.platform === "linux") execFileSync("fallocate", ["--length", String(SIZE), scratch.at("data")]);
});

/** Everything that a stopped run could have left in the folder of its outputs. */
const left = (folder: string): string[] => fs.readdirSync(folder, { recursive: true }).map(String);

/** Waits until something of the output is in the folder, so that the run is in its middle. */
async function inTheMiddle(folder: string, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 2000; tries++) {
    if (child.exitCode !== null) throw new Error("the run ended before it was stopped");
    const files = left(folder).filter((name) => fs.statSync(`${folder}/${name}`, { throwIfNoEntry: false })?.isFile());
    if (files.length > 0) return;
    await sleep(10);
  }
  throw new Error("nothing appeared");
}

async function stopped(args: (output: string) => string[], signal: NodeJS.Signals): Promise<{ result: Result; folder: string; seconds: number }> {
  const folder = fs.mkdtempSync(scratch.at("run-"));
  const child = start(args(`${folder}/out`), { env: { TMPDIR: folder } });
  const end = finished(child);
  await inTheMiddle(folder, child);
  // Into the loop that passes the bytes.
  await sleep(150);
  const from = performance.now();
  child.kill(signal);
  const result = await end;
  return { result, folder, seconds: (performance.now() - from) / 1000 };
}

const writers: readonly [name: string, args: (output: string) => string[]][] = [
  ["rootfs", (output) => ["rootfs", scratch.at("tree"), "-o", output, ...epoch]],
  ["image", (output) => ["image", scratch.at("tree"), "-o", output, ...epoch]],
  ["image without compression", (output) => ["image", scratch.at("tree"), "-o", output, "--compression", "none", ...epoch]],
  ["disk", (output) => ["disk", scratch.at("tree"), "-o", output, ...epoch]],
  ["verity format", (output) => ["verity", "format", scratch.at("data"), output]],
];

describe("stopped in its middle", () => {
  test.each(writers)("SIGTERM: %s leaves nothing, says so in one line, and ends at once", async (_, args) => {
    const { result, folder, seconds } = await stopped(args, "SIGTERM");
    expect(result).toMatchObject({ code: 143, stderr: "imgkit: stopped by SIGTERM; nothing was written\n" });
    expect(left(folder)).toEqual([]);
    expect(seconds).toBeLessThan(2);
  });

  test.each(writers.slice(0, 1))("SIGINT: %s leaves nothing", async (_, args) => {
    const { result, folder } = await stopped(args, "SIGINT");
    expect(result).toMatchObject({ code: 130, stderr: "imgkit: stopped by SIGINT; nothing was written\n" });
    expect(left(folder)).toEqual([]);
  });

  test.each(writers)("SIGKILL: %s leaves nothing under the final name", async (_, args) => {
    const { result, folder } = await stopped(args, "SIGKILL");
    expect(result.signal).toBe("SIGKILL");
    expect(fs.existsSync(`${folder}/out`)).toBe(false);
  });

  test("SIGTERM while verify reads: it ends at once", async () => {
    const child = start(["verify", scratch.at("data"), "--digest", `sha256:${"0".repeat(64)}`]);
    const end = finished(child);
    await sleep(700);
    const from = performance.now();
    child.kill("SIGTERM");
    expect((await end).code).toBe(143);
    expect(performance.now() - from).toBeLessThan(2000);
  });

  test.each<NodeJS.Signals>(["SIGTERM", "SIGKILL"])("%s while it waits for standard input: nothing is left, not even in TMPDIR", async (signal) => {
    const folder = fs.mkdtempSync(scratch.at("run-"));
    const child = start(["rootfs", "-", "-o", `${folder}/out`, ...epoch], { env: { TMPDIR: folder } });
    const end = finished(child);
    child.stdin?.on("error", () => undefined);
    child.stdin?.write(Buffer.alloc(1 << 20, 1));
    await sleep(1000);
    child.kill(signal);
    expect(await end).toMatchObject(signal === "SIGTERM" ? { code: 143 } : { signal });
    expect(left(folder)).toEqual([]);
  });

  test("what stood under the final name is still there", async () => {
    const folder = fs.mkdtempSync(scratch.at("run-"));
    fs.writeFileSync(`${folder}/out`, "before");
    const child = start(["disk", scratch.at("tree"), "-o", `${folder}/out`, ...epoch]);
    const end = finished(child);
    for (let tries = 0; left(folder).length < 3 && tries < 2000; tries++) await sleep(10);
    child.kill("SIGTERM");
    expect((await end).code).toBe(143);
    expect(left(folder)).toEqual(["out"]);
    expect(fs.readFileSync(`${folder}/out`, "utf8")).toBe("before");
  });

  oracleRoot("mmdebstrap")("SIGTERM while mmdebstrap runs: it ends too, and its folder goes", async () => {
    const folder = fs.mkdtempSync(scratch.at("run-"));
    // mmdebstrap drops to another user for some of its work.
    fs.chmodSync(scratch.path, 0o755);
    fs.chmodSync(folder, 0o1777);
    const child = start(["rootfs", "mmdebstrap:bookworm?variant=minbase", "-o", `${folder}/out`, ...epoch], { env: { TMPDIR: folder } });
    const end = finished(child);
    for (let tries = 0; !left(folder).some((name) => /mmdebstrap\.[^/]+\/.*var\/lib\/apt/.test(name)) && tries < 2000; tries++) await sleep(10);
    child.kill("SIGTERM");
    expect(await end).toMatchObject({ code: 143, stderr: "imgkit: stopped by SIGTERM; nothing was written\n" });
    expect(left(folder)).toEqual([]);
    expect(execFileSync("ps", ["-eo", "args"], { encoding: "utf8" })).not.toContain(folder);
  });
});

describe("a reader that goes away", () => {
  oracle("bash")("rootfs -o - | head -c1: one line at most, no stack trace", () => {
    const script = `set -o pipefail; "$@" | head -c1 | wc -c; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = shell(script, ["rootfs", scratch.at("tree"), "-o", "-", ...epoch]);
    expect(stdout).toMatch(/^1\n/);
    expect(stderr).toBe("imgkit: standard output: write EPIPE\n");
  });

  oracle("bash")("rootfs -o - | head -c1: the exit code is that of a failed host", () => {
    const { stdout } = shell(`"$@" 2>/dev/null | head -c1 >/dev/null; echo "\${PIPESTATUS[0]}"`, ["rootfs", scratch.at("tree"), "-o", "-", ...epoch]);
    expect(stdout).toBe("3\n");
  });

  oracle("bash")("nobody reads standard error: the run goes on", () => {
    const args = ["verify", scratch.at("data"), "--as", "disk"];
    const { stdout } = shell(`"$@" 2> >(exec 0<&-; sleep 0.1) >/dev/null; echo $?`, args);
    expect(stdout).toBe("1\n");
  });

  function shell(script: string, args: readonly string[]): { stdout: string; stderr: string } {
    return spawnSync("bash", ["-c", script, "bash", process.execPath, command, ...args], { encoding: "utf8" });
  }
});

test("a run that was stopped can be run again", async () => {
  const folder = fs.mkdtempSync(scratch.at("run-"));
  const small = scratch.folder("small");
  const args = ["rootfs", small, "-o", `${folder}/out`, ...epoch];
  const killed = start(args);
  const end = finished(killed);
  killed.kill("SIGKILL");
  await end;
  expect(await imgkit(args)).toMatchObject({ code: 0 });
});
