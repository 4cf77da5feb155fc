import { spawn } from "node:child_process";
import { lutimesSync } from "node:fs";
import { compareNames, printable, toHex } from "@imgkit/bytes";
import { latin1OfName } from "./latin1.node.ts";
import type { InodeNode, TreeNode } from "./node.ts";

// What Node has no call for: devices, fifos, extended attributes, nanoseconds. The host's own tools make them, one process for
// many nodes where the tool allows it.

/** Something that could not be written as the tree has it. */
export interface ExtractFinding {
  readonly code: "OWNERS_SKIPPED" | "SET_ID_DROPPED" | "DEVICE_SKIPPED" | "XATTR_SKIPPED" | "TIMES_ROUNDED";
  /** The path in the tree; the empty string for the whole of it. */
  readonly path: string;
  readonly message: string;
}

/** Where a path of the tree stands on the host. */
export type Place = (path: string) => string | Buffer;

type OnFinding = (finding: ExtractFinding) => void;

/** Makes devices and fifos; each name must be free. */
export async function makeSpecial(nodes: readonly TreeNode[], place: Place): Promise<void> {
  const script: string[] = [];
  for (const node of nodes) {
    if (node.type === "char" || node.type === "block") {
      script.push(`mknod -m 600 -- ${quoted(place(node.path))} ${node.type === "char" ? "c" : "b"} ${node.major} ${node.minor}\n`);
    } else if (node.type === "fifo") script.push(`mkfifo -m 600 -- ${quoted(place(node.path))}\n`);
  }
  const failure = await run("sh", ["-e"], script.join(""));
  if (failure !== undefined) throw new Error(failure);
}

/** Attributes that only root may set. */
const privileged = /^(security|trusted)\./;

/** All attributes in one run of setfattr, each node's in the order of their names. */
export async function setXattrs(nodes: readonly InodeNode[], place: Place, onFinding: OnFinding): Promise<void> {
  const dump: string[] = [];
  const isRoot = process.getuid?.() === 0;
  let any = false;
  for (const { path, xattrs } of nodes) {
    const names = [...xattrs.keys()].sort(compareNames);
    const able = names.filter((name) => isRoot || !privileged.test(name));
    if (able.length < names.length) {
      const left = names.filter((name) => !able.includes(name)).map(printable);
      onFinding({ code: "XATTR_SKIPPED", path, message: `${left.join(", ")}: only root sets such attributes` });
    }
    if (able.length === 0) continue;
    any = true;
    dump.push(`# file: ${octal(latin1(place(path)))}`, ...able.map((name) => `${octal(latin1OfName(name))}=0x${toHex(xattrs.get(name) as Uint8Array)}`), "");
  }
  if (!any) return;
  const failure = process.platform === "linux" ? await run("setfattr", ["-h", "--restore=-"], `${dump.join("\n")}\n`) : "not on this system";
  if (failure !== undefined) onFinding({ code: "XATTR_SKIPPED", path: "", message: `extended attributes were not all set: ${printable(failure)}` });
}

/** What Node's number of seconds holds exactly. */
const MAX_WHOLE = 2n ** 40n;
const SECOND = 1_000_000_000n;

/**
 * Times of nodes, access times with them. Whole seconds by Node itself; for the rest one touch (GNU coreutils) for each distinct time,
 * since Node takes a double, which has no room for nanoseconds.
 */
export async function setTimes(nodes: readonly InodeNode[], place: Place, onFinding: OnFinding): Promise<void> {
  const byTime = new Map<bigint, string[]>();
  for (const { path, mtime } of nodes) {
    const whole = mtime / SECOND;
    if (mtime % SECOND === 0n && whole >= 0n && whole < MAX_WHOLE) lutimesSync(place(path), Number(whole), Number(whole));
    else {
      const same = byTime.get(mtime);
      if (same === undefined) byTime.set(mtime, [path]);
      else same.push(path);
    }
  }
  const lines = [...byTime].flatMap(([time, paths]) =>
    inPieces(paths).map((piece) => `touch -h -d @${seconds(time)} -- ${piece.map((path) => quoted(place(path))).join(" ")}\n`),
  );
  const failure = await run("sh", ["-e"], lines.join(""));
  if (failure === undefined) return;
  for (const [time, paths] of byTime) for (const path of paths) lutimesSync(place(path), Number(time) / 1e9, Number(time) / 1e9);
  onFinding({ code: "TIMES_ROUNDED", path: "", message: `times were rounded, since there is no GNU touch: ${printable(failure)}` });
}

/** Few enough for one command line: a path has up to 4,095 bytes, and Linux takes 128 KiB and more. */
function inPieces(paths: readonly string[]): string[][] {
  const pieces: string[][] = [];
  for (let at = 0; at < paths.length; at += 24) pieces.push(paths.slice(at, at + 24));
  return pieces;
}

/** A time in nanoseconds as a decimal number of seconds. */
function seconds(time: bigint): string {
  const size = time < 0n ? -time : time;
  return `${time < 0n ? "-" : ""}${size / SECOND}.${String(size % SECOND).padStart(9, "0")}`;
}

function latin1(path: string | Buffer): string {
  return typeof path === "string" ? path : path.toString("latin1");
}

function quoted(path: string | Buffer): string {
  return `'${latin1(path).replaceAll("'", "'\\''")}'`;
}

/** getfattr's quoting: whatever is not plain as a backslash and three octal digits. */
function octal(text: string): string {
  return text.replace(/[^\u0021-\u007e]|[\\=]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

/** Runs a tool on an input, one character a byte; returns what it complains of, if it does. */
async function run(command: string, args: readonly string[], input: string): Promise<string | undefined> {
  if (input === "") return undefined;
  const child = spawn(command, args, { stdio: ["pipe", "ignore", "pipe"], env: { ...process.env, LC_ALL: "C" } });
  let complaint = "";
  child.stderr.setEncoding("latin1").on("data", (text: string) => {
    if (complaint.length < 4096) complaint += text;
  });
  // A tool that stops early closes its input; its complaint says why.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input, "latin1");
  const status = await new Promise<number | string>((done) => {
    child.once("error", ({ message }) => done(message));
    child.once("close", (code, signal) => done(code ?? signal ?? "an unknown status"));
  });
  if (status === 0 && complaint === "") return undefined;
  return `${command}: ${complaint.trim().split("\n")[0] || status}`;
}
