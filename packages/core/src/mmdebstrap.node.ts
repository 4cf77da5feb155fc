import { type ChildProcess, type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { checkEpoch } from "./epoch.ts";
import { CoreError } from "./errors.ts";
import { type MmdebstrapSpec, mmdebstrapArguments, parseMmdebstrapSpec } from "./mmdebstrap.ts";
import { ToolLog } from "./tool-log.ts";

export interface MmdebstrapOptions {
  /** Seconds since 1970; mmdebstrap gets it as SOURCE_DATE_EPOCH. */
  readonly epoch: number;
  /**
   * Where PATH, HOME, TMPDIR and the proxies are looked up (`process.env` in a command). Nothing else of it reaches
   * mmdebstrap, and the locale is C: the image must not depend on who builds it.
   */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends mmdebstrap; the stream then throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Each line that mmdebstrap prints to standard error, as it comes. */
  readonly onLog?: (line: string) => void;
  /** Milliseconds that mmdebstrap has to clean up after it was told to end, before it is killed. Default 15,000. */
  readonly graceTime?: number;
  /** Take release files whose Valid-Until has passed: mmdebstrap then leaves apt's option for it in the image (default false). */
  readonly ignoreExpiry?: boolean;
}

/**
 * The tar that mmdebstrap writes for `mmdebstrap:SUITE?…`, as it comes; it is mmdebstrap's own, not normalised. It needs
 * root or, for other users, user namespaces, and the network. When the caller stops early, or aborts, mmdebstrap and
 * what it started are ended before the stream is.
 * @throws CoreError BAD_SOURCE, BAD_EPOCH; TOOL_MISSING, TOOL_FAILED (kind system) with mmdebstrap's last errors.
 */
export async function* runMmdebstrap(spec: string | MmdebstrapSpec, options: MmdebstrapOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const parsed = typeof spec === "string" ? parseMmdebstrapSpec(spec) : spec;
  const { signal } = options;
  signal?.throwIfAborted();
  const environment = { ...toolEnvironment(options.env), SOURCE_DATE_EPOCH: String(checkEpoch(options.epoch)) };
  const scratch = makeScratch(options.env.TMPDIR || "/tmp");
  try {
    const expiry = options.ignoreExpiry === true ? ['--aptopt=Acquire::Check-Valid-Until "false"'] : [];
    const run = await start([...expiry, ...mmdebstrapArguments(parsed)], { ...environment, TMPDIR: scratch }, new ToolLog(options.onLog));
    yield* output(run, signal, options.graceTime ?? 15_000);
  } finally {
    removeScratch(scratch, options.onLog);
  }
}

/** What it writes, until it ends or is ended. */
async function* output(run: Run, signal: AbortSignal | undefined, graceTime: number): AsyncGenerator<Uint8Array, void, undefined> {
  let ended: Promise<void> | undefined;
  const end = (): Promise<void> => {
    ended ??= endGroup(run, graceTime);
    return ended;
  };
  // Should this process end first, mmdebstrap is told to end as well; it removes its own folder.
  const leave = (): void => signalGroup(run.child, "SIGTERM");
  signal?.addEventListener("abort", end);
  process.once("exit", leave);
  try {
    if (signal?.aborted) await end();
    for await (const chunk of run.child.stdout as AsyncIterable<Buffer>) yield new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    const status = await run.exited;
    if (status !== "exit code 0") throw failed(status, run.log);
  } catch (error) {
    // What the stream says of its end matters less than why it was ended.
    signal?.throwIfAborted();
    throw error;
  } finally {
    await end();
    process.removeListener("exit", leave);
    signal?.removeEventListener("abort", end);
  }
  signal?.throwIfAborted();
}

interface Run {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly log: ToolLog;
  /** How it ended, once it has and all that it printed is in the log. */
  readonly exited: Promise<string>;
}

/** @throws CoreError TOOL_MISSING, TOOL_FAILED. */
async function start(args: readonly string[], env: Record<string, string>, log: ToolLog): Promise<Run> {
  // A process group of its own, so that apt, dpkg and tar can be ended along with it.
  const child = spawn("mmdebstrap", args, { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
  child.stderr.setEncoding("utf8").on("data", (text: string) => log.push(text));
  const logged = new Promise<void>((resolve) => child.stderr.once("close", resolve));
  const exited = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => {
      // The group's leader is gone: what it has left behind must not keep the pipes open.
      signalGroup(child, "SIGKILL");
      logged.then(() => resolve(code === null ? `signal ${signal}` : `exit code ${code}`));
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => reject(notStarted(cause)));
  });
  return { child, log, exited };
}

/**
 * The version of the installed mmdebstrap, such as `1.3.5`.
 * @throws CoreError TOOL_MISSING, TOOL_FAILED (kind system).
 */
export async function mmdebstrapVersion(env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const { stdout } = await promisify(execFile)("mmdebstrap", ["--version"], { env: toolEnvironment(env) }).catch((cause: unknown) => {
    throw notStarted(cause);
  });
  const version = /^mmdebstrap (\S+)\s*$/.exec(stdout)?.[1];
  if (version === undefined) throw new CoreError("TOOL_FAILED", "mmdebstrap --version printed no version", { found: JSON.stringify(stdout) }, "system");
  return version;
}

const passedOn = ["TMPDIR", ...["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"].flatMap((name) => [name, name.toUpperCase()])];

function toolEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const out: Record<string, string> = {
    PATH: env.PATH ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: env.HOME ?? "/",
    LC_ALL: "C",
  };
  for (const name of passedOn) {
    const value = env[name];
    if (value !== undefined) out[name] = value;
  }
  return out;
}

function notStarted(cause: unknown): CoreError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === "ENOENT") {
    const hint = "On Debian and Ubuntu: apt install mmdebstrap. Elsewhere give a tar or a folder instead.";
    return new CoreError("TOOL_MISSING", "mmdebstrap is not installed", { hint, cause }, "system");
  }
  return new CoreError("TOOL_FAILED", `mmdebstrap cannot be run: ${message}`, { cause }, "system");
}

function failed(status: string, log: ToolLog): CoreError {
  const reasons = log.reasons();
  const hint = hints.find(([pattern]) => pattern.test(reasons))?.[1] ?? "Run mmdebstrap itself to see all that it says.";
  return new CoreError("TOOL_FAILED", `mmdebstrap failed with ${status}: ${reasons === "" ? "it printed no reason" : reasons}`, { hint }, "system");
}

const hints: readonly (readonly [RegExp, string])[] = [
  [/Unable to locate package|has no installation candidate/i, "Check include= and components=."],
  [/Could not connect|Could not resolve|Temporary failure|timed out|Network is unreachable/i, "Check the network, the proxy variables and mirror=."],
  [/NO_PUBKEY|not signed|signature/i, "Install the archive's keyring (debian-archive-keyring, ubuntu-keyring), or name it with keyring=."],
  [/Release file|404/i, "Check the suite's name and mirror=."],
  [/unshare|subuid|newuidmap|need to be root/i, "Run as root, or allow user namespaces (apt install uidmap; /etc/subuid)."],
];

/** Tells the group to end and waits; after the grace time it is killed. */
async function endGroup({ child, exited }: Run, graceTime: number): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    // Nobody reads on: who waits for room in the pipe must wake up and fail.
    child.stdout.destroy();
    signalGroup(child, "SIGTERM");
  }
  const timer = setTimeout(() => signalGroup(child, "SIGKILL"), graceTime);
  await exited;
  clearTimeout(timer);
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // Nobody is left in it.
  }
}

/** A folder for all temporary files of one run: mmdebstrap removes its own unless a signal comes too early or is SIGKILL. */
function makeScratch(parent: string): string {
  try {
    const made = mkdtempSync(join(parent, "imgkit-mmdebstrap-"));
    // Apt's own user and, with user namespaces, their root must be able to pass through it.
    chmodSync(made, 0o755);
    return made;
  } catch (cause) {
    throw new CoreError("TOOL_FAILED", "no folder for mmdebstrap's temporary files", { path: parent, hint: "Check TMPDIR.", cause }, "system");
  }
}

function removeScratch(scratch: string, onLog: ((line: string) => void) | undefined): void {
  try {
    // Something mounted in it would be emptied along with it; what mmdebstrap mounts is in a namespace that ended with it.
    if (holdsMount(scratch)) throw new Error("something is mounted in it");
    rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    onLog?.(`W: ${scratch} is left behind: ${(error as Error).message}`);
  }
}

function holdsMount(folder: string): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .some((line) => (line.split(" ")[4] ?? "").startsWith(`${folder}/`));
}
