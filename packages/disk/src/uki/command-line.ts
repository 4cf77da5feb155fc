// The kernel's command line in a unified kernel image: UTF-8 without a NUL at its end (UAPI.5, ".cmdline").

import { DiskError } from "../errors.ts";

/**
 * The most bytes that Linux takes, by architecture: COMMAND_LINE_SIZE less the NUL (arch/x86/include/asm/setup.h,
 * arch/arm64 and arch/riscv/include/uapi/asm/setup.h). The rest would be cut off without a word.
 */
export const commandLineLimits = { "x86-64": 2047, arm64: 2047, riscv64: 1023 } as const;

/**
 * The bytes of a command line.
 * @throws DiskError UKI_INPUT when it is empty, longer than Linux takes, or holds a control character (NUL, newline and tab are some).
 */
export function encodeCommandLine(text: string, arch: keyof typeof commandLineLimits): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  const limit = commandLineLimits[arch];
  if (bytes.length === 0 || bytes.length > limit) {
    throw new DiskError("UKI_INPUT", "a command line of a length that Linux does not take", {
      field: "command line",
      expected: `1 to ${limit} bytes`,
      found: `${bytes.length}`,
    });
  }
  const wrong = /[\u0000-\u001f\u007f]|\p{Surrogate}/u.exec(text);
  if (wrong !== null) {
    throw new DiskError("UKI_INPUT", "a command line with a character that it cannot hold", {
      field: "command line",
      expected: "text without control characters, separated by spaces",
      found: `U+${text.charCodeAt(wrong.index).toString(16).padStart(4, "0").toUpperCase()} after ${wrong.index} characters`,
    });
  }
  return bytes;
}
