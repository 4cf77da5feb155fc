import { DiskError } from "../errors.ts";

/** A structure of a container that is not as its format has it. */
export function corrupt(kind: string, offset: number, field: string, expected: string, found: string, hint?: string): DiskError {
  return new DiskError("CONTAINER_CORRUPT", `not a ${kind} file, or a damaged one`, {
    offset,
    field,
    expected,
    found,
    ...(hint === undefined ? {} : { hint }),
  });
}
