import { ImgkitError, printable } from "@imgkit/bytes";
import { CommanderError } from "commander";

/** The command's exit codes (architecture: "The command"). */
export const exitCode = {
  done: 0,
  /** A verification or comparison found something. */
  found: 1,
  /** Wrong usage or bad input. */
  input: 2,
  /** The system or the network failed. */
  system: 3,
} as const;

export type CliErrorCode =
  | "USAGE"
  | "NO_EPOCH"
  | "UNKNOWN_KIND"
  | "OUTPUT_CLOSED"
  | "INTERRUPTED"
  | "NOT_A_FILE"
  | "BAD_BUILD_FILE"
  | "BAD_RECORD"
  | "NOT_REBUILT";

export class CliError extends ImgkitError<CliErrorCode> {}

export interface Failure {
  readonly exitCode: number;
  readonly code: string;
  /** One line. */
  readonly message: string;
}

// What the host says of a path that the user gave, as against what it says of itself.
const inputErrno = new Set(["ENOENT", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP"]);

/** Commander's sentence on one line: its suggestion comes on a second, and what it quotes is a stranger's text. */
function usageMessage({ code, message }: CommanderError): string {
  if (code === "commander.help") return "no command is given, or none that imgkit has. Add --help for a list.";
  return printable(message.replace(/^error: /, "").replace(/\n\(Did you mean (.+)\?\)$/, ". Did you mean $1?"));
}

/** What an error means to whoever ran the command. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ImgkitError) {
    return { exitCode: error.kind === "system" ? exitCode.system : exitCode.input, code: error.code, message: error.message };
  }
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? exitCode.done : exitCode.input, code: "USAGE", message: usageMessage(error) };
  }
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) {
    return { exitCode: inputErrno.has(code) ? exitCode.input : exitCode.system, code, message: printable(message) };
  }
  return { exitCode: exitCode.system, code: "INTERNAL", message: `internal error, please report it: ${printable(stack ?? String(error))}` };
}
