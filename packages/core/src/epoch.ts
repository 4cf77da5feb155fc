import { CoreError } from "./errors.ts";

/** The latest second that a tar header's eleven octal digits hold: 2242-03-16. */
export const MAX_EPOCH = 0o77777777777;

/**
 * An epoch in seconds since 1970, checked.
 * @throws CoreError BAD_EPOCH unless it is an integer from 0 to `MAX_EPOCH`.
 */
export function checkEpoch(epoch: number): number {
  if (!Number.isInteger(epoch) || epoch < 0 || epoch > MAX_EPOCH) {
    throw new CoreError("BAD_EPOCH", "not an epoch", { expected: `an integer number of seconds from 0 to ${MAX_EPOCH}`, found: String(epoch) });
  }
  return epoch;
}

/**
 * An epoch from text, as `SOURCE_DATE_EPOCH` has it (reproducible-builds.org/specs/source-date-epoch): decimal digits only.
 * @throws CoreError BAD_EPOCH.
 */
export function parseEpoch(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw new CoreError("BAD_EPOCH", "not an epoch", {
      expected: "decimal digits: seconds since 1970",
      found: JSON.stringify(text),
      hint: "For example the time of a commit: git log -1 --pretty=%ct",
    });
  }
  return checkEpoch(Number(text));
}
