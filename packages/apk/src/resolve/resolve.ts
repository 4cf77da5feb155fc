// Which packages a world of demands comes to. The rules are apk-tools' (apk-package(5), apk-world(5)), the order of what is found is apko's.
import { type Dependency, parseDependency } from "../dependency.ts";
import { ApkError } from "../errors.ts";
import type { PackageInfo } from "../package.ts";
import { compareVersions } from "../version.ts";
import type { Candidate, Catalogue } from "./candidate.ts";
import { Possibilities, pinsOf } from "./possible.ts";
import type { Selection } from "./selection.ts";
import { type Demand, solve } from "./solve.ts";

export interface ResolvedPackage {
  readonly info: PackageInfo;
  /** Which of the repositories. */
  readonly repository: number;
  /** Nobody asked for it by name: its install_if was met. */
  readonly byItself: boolean;
}

/**
 * The packages that a world comes to, each behind those that it depends on.
 * @throws ApkError BAD_DEPENDENCY, BAD_VERSION; UNSATISFIABLE with which demand, by whom, and what was on offer.
 */
export function resolve(world: readonly string[], catalogue: Catalogue): readonly ResolvedPackage[] {
  const demands: Demand[] = [...new Set(world)].map((text) => {
    const dependency = parseDependency(text);
    return { dependency, by: undefined, pins: pinsOf(dependency) };
  });
  const possibilities = new Possibilities(catalogue);
  possibilities.reach(demands.map(({ dependency }) => dependency));
  const selection = solve(possibilities, demands);
  const asked = new Set(selection.chosen);
  addByThemselves(catalogue.candidates, possibilities, selection);
  return installOrder(demands, selection).map((candidate) => ({ info: candidate.info, repository: candidate.repository, byItself: !asked.has(candidate) }));
}

/** Adds packages whose install_if is met, with what they need, until there are no more; those that do not fit stay out. */
function addByThemselves(candidates: readonly Candidate[], possibilities: Possibilities, selection: Selection): void {
  const hopeful = candidates.filter(({ installIf, pin }) => installIf.length > 0 && pin === undefined).sort(byNameNewestFirst);
  const refused = new Set<Candidate>();
  const isMet = (dependency: Dependency): boolean => (selection.provider(dependency) !== undefined) !== dependency.conflict;
  for (;;) {
    const next = hopeful.find((candidate) => !refused.has(candidate) && !selection.has(candidate) && candidate.installIf.every(isMet));
    if (next === undefined) return;
    refused.add(next);
    const { name, version } = next.info;
    const dependency: Dependency = { text: `${name}=${version}`, name, operator: "=", version: next.version, conflict: false };
    possibilities.reach([dependency]);
    const before = selection.chosen.length;
    try {
      solve(possibilities, [{ dependency, by: undefined, pins: new Set() }], selection);
    } catch (error) {
      if (!(error instanceof ApkError) || error.code !== "UNSATISFIABLE") throw error;
      selection.shrink(before);
    }
  }
}

function byNameNewestFirst(a: Candidate, b: Candidate): number {
  if (a.info.name !== b.info.name) return a.info.name < b.info.name ? -1 : 1;
  return compareVersions(b.version, a.version) || a.repository - b.repository;
}

/** Deeper before shallower, then as the dependencies stand; what came by itself last. A circle is cut where it closes. */
function installOrder(world: readonly Demand[], selection: Selection): readonly Candidate[] {
  const done = new Set<Candidate>();
  const out: Candidate[] = [];
  const visit = (root: Candidate): void => {
    const stack: { candidate: Candidate; next: number }[] = [];
    const enter = (candidate: Candidate | undefined): void => {
      if (candidate === undefined || done.has(candidate)) return;
      done.add(candidate);
      stack.push({ candidate, next: 0 });
    };
    enter(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const dependency = top.candidate.depends[top.next++];
      if (dependency === undefined) {
        out.push(top.candidate);
        stack.pop();
      } else if (!dependency.conflict) enter(selection.provider(dependency));
    }
  };
  for (const { dependency } of world) {
    const root = dependency.conflict ? undefined : selection.provider(dependency);
    if (root !== undefined) visit(root);
  }
  for (const candidate of selection.chosen) visit(candidate);
  return out;
}
