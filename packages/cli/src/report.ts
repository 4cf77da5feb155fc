import type { Suspect } from "@imgkit/core";
import type { PreparedSource } from "./prepare.ts";

/** A finding as a line for people: both sides' values belong to it. */
export function findingLine({ message, expected, found }: { readonly message: string; readonly expected?: string; readonly found?: string }): string {
  if (expected === undefined || found === undefined || (message.includes(expected) && message.includes(found))) return message;
  return `${message} (expected ${expected}, found ${found})`;
}

/** What `--json` says of a source and of what normalising did to it. */
export interface SourceReport {
  readonly entries: number;
  readonly profile: string;
  readonly scrubbed: readonly { readonly path: string; readonly action: "removed" | "emptied"; readonly reason: string }[];
  /** How many nodes were changed, by what was done to them. */
  readonly changed: Readonly<Record<"added" | "replaced" | "moved" | "times" | "owners" | "modes", number>>;
  readonly droppedXattrs: readonly { readonly path: string; readonly detail: string }[];
  readonly findings: readonly string[];
  /** What is likely to differ from build to build and was left as it is. */
  readonly suspects: readonly Suspect[];
}

/** The same in a few words for people. What filters left out is among what was taken out, and no profile's doing. */
export function entriesLine({ entries, scrubbed, profile }: SourceReport): string {
  const counted = (count: number, one: string, more: string): string => `${count} ${count === 1 ? one : more}`;
  const by = profile === "none" ? "" : ` (profile ${profile})`;
  return `${counted(entries, "entry", "entries")}${scrubbed.length === 0 ? "" : `, ${counted(scrubbed.length, "path", "paths")} taken out${by}`}`;
}

const counters = { added: "added", replaced: "replaced", moved: "moved", time: "times", owner: "owners", mode: "modes" } as const;

export function sourceReport(source: PreparedSource): SourceReport {
  const scrubbed: { path: string; action: "removed" | "emptied"; reason: string }[] = [];
  const droppedXattrs: { path: string; detail: string }[] = [];
  const changed = { added: 0, replaced: 0, moved: 0, times: 0, owners: 0, modes: 0 };
  for (const { path, action, detail } of source.changes) {
    if (action === "removed" || action === "emptied") scrubbed.push({ path, action, reason: detail });
    else if (action === "xattr") droppedXattrs.push({ path, detail });
    else changed[counters[action]]++;
  }
  return { entries: source.tree.size, profile: source.profileUsed, scrubbed, changed, droppedXattrs, findings: source.findings, suspects: source.suspects };
}
