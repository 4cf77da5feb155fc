import type { Tree } from "../tree.ts";
import { type Owner, setOwner } from "./owners.ts";
import { type ScrubProfile, scrub } from "./scrub.ts";
import type { Change, Normalised } from "./step.ts";
import { normaliseTimes, type TimePolicy } from "./times.ts";
import { defaultXattrPolicy, filterXattrs, type XattrPolicy } from "./xattrs.ts";

export interface NormaliseOptions {
  /** Seconds since 1970. */
  readonly epoch: number;
  readonly times?: TimePolicy;
  readonly profile?: ScrubProfile;
  readonly owner?: Owner;
  readonly xattrs?: XattrPolicy;
}

/** All steps in their one order: scrub, owners, xattrs, times. */
export function normalise(tree: Tree, options: NormaliseOptions): Normalised {
  const changes: Change[] = [];
  let current = tree;
  const apply = (result: Normalised): void => {
    current = result.tree;
    changes.push(...result.changes);
  };
  if (options.profile !== undefined) apply(scrub(current, options.profile));
  if (options.owner !== undefined) apply(setOwner(current, options.owner));
  apply(filterXattrs(current, options.xattrs ?? defaultXattrPolicy));
  apply(normaliseTimes(current, options.epoch, options.times ?? "clamp"));
  return { tree: current, changes };
}
