import { printable, toHex } from "@imgkit/bytes";
import type { Difference } from "../compare.ts";
import { formatPaxTime } from "../tar/pax.ts";
import type { Tree } from "../tree.ts";
import type { CauseCode, FoundCause } from "./causes.ts";
import { both, found } from "./pair.ts";

/** What holds for a whole tree and explains a single node of it. */
export interface TreeFacts {
  /** The latest time, in nanoseconds. */
  readonly latest: bigint;
  readonly wholeSeconds: boolean;
  readonly allRoot: boolean;
}

const SECOND = 1_000_000_000n;

export function factsOf(tree: Tree): TreeFacts {
  let latest: bigint | undefined;
  let wholeSeconds = true;
  let allRoot = true;
  for (const { mtime, uid, gid } of tree) {
    if (latest === undefined || mtime > latest) latest = mtime;
    if (mtime % SECOND !== 0n) wholeSeconds = false;
    if (uid !== 0 || gid !== 0) allRoot = false;
  }
  return { latest: latest ?? 0n, wholeSeconds, allRoot };
}

/** Whole seconds below a time, toward the past. */
export function secondsBelow(time: bigint): bigint {
  const seconds = time / SECOND;
  return seconds * SECOND > time ? seconds - 1n : seconds;
}

type Timed = Extract<Difference, { kind: "mtime" }>;

function causeOfTime({ a, b }: Timed, factsOfA: TreeFacts, factsOfB: TreeFacts): FoundCause {
  const detail = both("time", formatPaxTime(a), formatPaxTime(b));
  if (secondsBelow(a) === secondsBelow(b) && (factsOfA.wholeSeconds || factsOfB.wholeSeconds)) return found("time-fraction", detail);
  const [earlier, facts] = a < b ? [a, factsOfA] : [b, factsOfB];
  const clamped = earlier === facts.latest && earlier % SECOND === 0n;
  return found(clamped ? "time-clamped" : "time", clamped ? `${detail}; the side of ${formatPaxTime(earlier)} has no later time` : detail);
}

const SET_ID = 0o7000;
/** What the usual umasks take away. */
const UMASKS = [0o002, 0o007, 0o022, 0o027, 0o077];

function causeOfMode(a: number, b: number): FoundCause {
  const detail = both("mode", octal(a), octal(b));
  if ((a & 0o777) === (b & 0o777) && ((a & b) === a || (a & b) === b)) return found("set-id-lost", detail);
  const byUmask = (a & SET_ID) === (b & SET_ID) && UMASKS.some((umask) => (a & ~umask) === b || (b & ~umask) === a);
  return found(byUmask ? "umask" : "mode", detail);
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/** By an attribute's name, first match; `true` where the cause holds only if the other side has none. */
const xattrRules: readonly (readonly [RegExp, CauseCode, boolean])[] = [
  [/^security\.capability$/, "capability-lost", true],
  [/^security\.(selinux|ima|evm|apparmor|SMACK64.*)$/, "host-label", false],
  [/^(trusted|user)\.overlay\.|^user\.(containers|rootlesscontainers)\.?|^trusted\.glusterfs\./, "overlay-mark", false],
];

function causeOfXattr({ name, a, b }: Extract<Difference, { kind: "xattr" }>): FoundCause {
  const rule = xattrRules.find(([pattern, , needsNone]) => pattern.test(name) && (!needsNone || a === undefined || b === undefined));
  return found(rule?.[1] ?? "xattr", both(printable(name), shown(a), shown(b)));
}

function shown(value: Uint8Array | undefined): string {
  if (value === undefined) return "(none)";
  return `0x${toHex(value.subarray(0, 32))}${value.length > 32 ? `… (${value.length} bytes)` : ""}`;
}

/** The cause of a difference of anything but content, and of a path that stands on one side only. */
export function causeOfMetadata(
  difference: Exclude<Difference, { kind: "content" | "only-in-a" | "only-in-b" }>,
  factsOfA: TreeFacts,
  factsOfB: TreeFacts,
): FoundCause {
  const d = difference;
  switch (d.kind) {
    case "mtime":
      return causeOfTime(d, factsOfA, factsOfB);
    case "uid":
    case "gid":
      return found(factsOfA.allRoot || factsOfB.allRoot ? "owner-zeroed" : "owner", both(d.kind, d.a, d.b));
    case "mode":
      return causeOfMode(d.a, d.b);
    case "xattr":
      return causeOfXattr(d);
    case "type":
      return found("node-type", both("a", d.a, d.b));
    case "target":
      return found("link-text", both("to", printable(d.a), printable(d.b)));
    case "device":
      return found("device-number", both("device", `${d.a.major}:${d.a.minor}`, `${d.b.major}:${d.b.minor}`));
    case "hardlink":
      return found("link-split", `one inode with ${other(d.path, d.a)} and with ${other(d.path, d.b)}`);
  }
}

function other(path: string, first: string): string {
  return first === path ? "no earlier name" : `/${printable(first)}`;
}
