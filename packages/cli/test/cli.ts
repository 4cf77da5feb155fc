import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { run } from "../src/program.ts";

/** The command as a user has it: what the build made. */
export const command: string = fileURLToPath(new URL("../bin/imgkit.cjs", import.meta.url));
export const epoch: readonly string[] = ["--epoch", "1700000000"];

export interface Result {
  /** Undefined when a signal ended the process. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  /** Besides PATH, HOME and TMPDIR, which every run gets; SOURCE_DATE_EPOCH of the tests' own environment is not passed on. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: Uint8Array | Readable;
  /** What starts the command, such as `setpriv …`. */
  readonly prefix?: readonly string[];
}

function environment(extra: RunOptions["env"] = {}): Record<string, string> {
  const { PATH = "", HOME = "/" } = process.env;
  return { PATH, HOME, TMPDIR: os.tmpdir(), ...extra };
}

/** Starts the real command; its standard streams are pipes. */
export function start(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const [file = "", ...rest] = [...(options.prefix ?? []), process.execPath, command, ...args];
  const how: SpawnOptions = { env: environment(options.env), stdio: "pipe", ...(options.cwd === undefined ? {} : { cwd: options.cwd }) };
  return spawn(file, rest, how);
}

/** Waits for the end of a started command and for all that it printed. */
export function finished(child: ChildProcess): Promise<Result> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => err.push(chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      resolve({ code: code ?? undefined, signal: signal ?? undefined, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }),
    );
  });
}

/** Runs the real command to its end. */
export async function imgkit(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const child = start(args, options);
  const { stdin } = child;
  // A command that fails early does not read on.
  stdin?.on("error", () => undefined);
  const { input } = options;
  if (input === undefined || input instanceof Uint8Array) stdin?.end(input ?? "");
  else if (stdin !== null) input.pipe(stdin);
  return finished(child);
}

/** Runs a command line in this process, from the sources: quicker, where the process itself is not the point. */
export async function here(args: readonly string[], { env, input = new Uint8Array(0) }: { env?: RunOptions["env"]; input?: Uint8Array } = {}): Promise<Result> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const stdin = new PassThrough();
  stdin.end(input);
  const read = async (stream: PassThrough): Promise<Buffer> => Buffer.concat(await stream.toArray());
  const printed = Promise.all([read(stdout), read(stderr)]);
  const { signal } = new AbortController();
  const unfinished = new Set<Promise<unknown>>();
  const code = await run(args, { stdin, stdout, stderr, env: environment(env), temporary: os.tmpdir(), clock: () => performance.now(), signal, unfinished });
  stdout.end();
  stderr.end();
  const [out, err] = await printed;
  return { code, signal: undefined, stdout: out, stderr: err.toString() };
}

/** The JSON document of a run with `--json` that went well (or, with `code` 1, found something). */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what the command printed, whatever that is
export function json(result: Result, code = 0): any {
  expect(result.stderr).toBe("");
  expect(result.code).toBe(code);
  return JSON.parse(result.stdout.toString());
}

/** Runs the real command with `--json`, which must go well. */
// biome-ignore lint/suspicious/noExplicitAny: as above
export async function imgkitJson(args: readonly string[], options: RunOptions = {}): Promise<any> {
  return json(await imgkit([...args, "--json"], options));
}

/** Holds a run to what every failure owes: its exit code, one line that names the cause, nothing else. */
export function expectFailure(result: Result, code: 2 | 3, cause: RegExp): void {
  expect(result.stderr).toMatch(cause);
  // One line, and nothing in it that could move a cursor or forge another.
  expect(result.stderr).toMatch(/^imgkit: [^\u0000-\u001f\u007f-\u009f]+\n$/);
  expect(result.stderr).not.toMatch(/internal error|INTERNAL| at .*\.js:\d+/);
  expect(result.signal).toBeUndefined();
  expect(result.code).toBe(code);
}

/** A folder for one test file, with what stands in it by name. */
export class Scratch {
  readonly path: string;
  readonly #cleanups: (() => void)[] = [];

  constructor(name: string) {
    this.path = fs.mkdtempSync(join(os.tmpdir(), `imgkit-${name}-`));
  }

  /** A path in the folder. */
  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  write(name: string, content: Uint8Array | string): string {
    fs.writeFileSync(this.at(name), content);
    return this.at(name);
  }

  folder(name: string): string {
    fs.mkdirSync(this.at(name), { recursive: true });
    return this.at(name);
  }

  /** Everything in a folder, hidden things too. */
  list(name = "."): string[] {
    return fs.readdirSync(this.at(name)).sort();
  }

  /** To be done before the folder goes, the last one first. */
  onRemove(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  remove(): void {
    for (const cleanup of this.#cleanups.reverse()) cleanup();
    fs.rmSync(this.path, { recursive: true, force: true });
  }
}
