import { spawn } from "node:child_process";
import { fromHex } from "@imgkit/bytes";
import { CoreError } from "./errors.ts";
import { nameOfLatin1 } from "./latin1.node.ts";

/** Extended attributes of one node by full name. */
export type Xattrs = ReadonlyMap<string, Uint8Array>;

/**
 * The extended attributes of everything below a folder, links not followed. Node has no call for them, and a process per
 * file would cost seconds: one `getfattr -R` (Debian package attr) reads a whole tree in tens of milliseconds.
 * @returns by path below the folder as a Tree has it, the folder itself under the empty string; names sorted.
 * @throws CoreError XATTRS_UNREADABLE (kind system) when the system is not Linux, getfattr is not installed, or it fails.
 */
export async function readXattrs(folder: string, signal?: AbortSignal): Promise<ReadonlyMap<string, Xattrs>> {
  if (process.platform !== "linux") throw unreadable(folder, `extended attributes are read on Linux only, this is ${process.platform}`);
  const dump = new XattrDump(folder);
  // Run inside the folder: "." needs no escaping and no name of it is taken for an option.
  const child = spawn("getfattr", ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names", "--", "."], {
    cwd: folder,
    env: { ...process.env, LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
    ...(signal === undefined ? {} : { signal }),
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (complaint.length < 4096) complaint += text;
  });
  child.stdout.setEncoding("latin1").on("data", (text: string) => dump.push(text));
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (exit, signal) => resolve(exit ?? signal ?? "an unknown status"));
  }).catch((cause: unknown) => {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw unreadable(folder, missing ? "getfattr is not installed" : `getfattr cannot be started: ${(cause as Error).message}`, cause);
  });
  // An attribute that may not be read is only complained of: the exit code is 0 all the same.
  if (code !== 0 || complaint !== "") throw unreadable(folder, `getfattr failed (status ${code}): ${complaint.trim().split("\n")[0] ?? ""}`);
  return dump.end();
}

/** Reads what `getfattr -d -e hex` prints, in pieces of any size, one character a byte. */
export class XattrDump {
  readonly #folder: string;
  readonly #found = new Map<string, Xattrs>();
  #pending = "";
  #path: string | undefined;
  #values: [string, Uint8Array][] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  push(text: string): void {
    const lines = (this.#pending + text).split("\n");
    this.#pending = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  /** @throws CoreError XATTRS_UNREADABLE when the last line or block is cut. */
  end(): ReadonlyMap<string, Xattrs> {
    if (this.#pending !== "" || this.#path !== undefined) throw unreadable(this.#folder, "the output of getfattr ends in the middle");
    return this.#found;
  }

  // A block is `# file: PATH`, lines `NAME=0xHEX`, and an empty line. A newline in a name is written `\012`, so a line is a line.
  #line(line: string): void {
    if (this.#path === undefined) {
      const path = /^# file: \.(?:\/(.+))?$/s.exec(line);
      if (path === null) throw unreadable(this.#folder, `getfattr printed what is no file's name: ${line}`);
      this.#path = unescapeOctal(path[1] ?? "");
      this.#values = [];
    } else if (line === "") {
      this.#values.sort(([a], [b]) => (a < b ? -1 : 1));
      this.#found.set(nameOfLatin1(this.#path), new Map(this.#values.map(([name, value]) => [nameOfLatin1(name), value])));
      this.#path = undefined;
    } else {
      const value = /^([^=]+)(?:=0x([0-9a-f]*))?$/s.exec(line);
      if (value === null) throw unreadable(this.#folder, `getfattr printed what is no attribute: ${line}`);
      this.#values.push([unescapeOctal(value[1] ?? ""), fromHex(value[2] ?? "")]);
    }
  }
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

function unreadable(path: string, sentence: string, cause?: unknown): CoreError {
  const hint = "Install the package attr on Linux, or leave extended attributes out (--no-xattrs); the digest is then another one.";
  return new CoreError("XATTRS_UNREADABLE", sentence, { path, hint, ...(cause === undefined ? {} : { cause }) }, "system");
}
