import type { Tree } from "../tree.ts";
import { type ModeMask, maskModes } from "./modes.ts";
import { mapOwners, type Owner, type OwnerMap, setOwner } from "./owners.ts";
import { filterPaths, type PathFilter } from "./paths.ts";
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
  readonly ownerMap?: OwnerMap;
  readonly modes?: ModeMask;
  readonly paths?: PathFilter;
  readonly xattrs?: XattrPolicy;
}

/** All steps in their one order: paths, scrub, owner map, owner, modes, xattrs, times. */
export function normalise(tree: Tree, options: NormaliseOptions): Normalised {
  const changes: Change[] = [];
  let current = tree;
  const apply = (result: Normalised): void => {
    current = result.tree;
    changes.push(...result.changes);
  };
  if (options.paths !== undefined) apply(filterPaths(current, options.paths));
  if (options.profile !== undefined) apply(scrub(current, options.profile));
  if (options.ownerMap !== undefined) apply(mapOwners(current, options.ownerMap));
  if (options.owner !== undefined) apply(setOwner(current, options.owner));
  if (options.modes !== undefined) apply(maskModes(current, options.modes));
  apply(filterXattrs(current, options.xattrs ?? defaultXattrPolicy));
  apply(normaliseTimes(current, options.epoch, options.times ?? "clamp"));
  return { tree: current, changes };
}
