import type { Dependency } from "../dependency.ts";
import { ApkError } from "../errors.ts";
import { type Candidate, label } from "./candidate.ts";
import { type Possibilities, pinsOf } from "./possible.ts";
import { Selection } from "./selection.ts";

/** Something that is needed, by whom, and from which tagged repositories it may come. */
export interface Demand {
  readonly dependency: Dependency;
  /** Undefined: the world. */
  readonly by: Candidate | undefined;
  readonly pins: ReadonlySet<string>;
}

/** A choice that was made and can be made otherwise. */
interface Choice {
  readonly demand: Demand;
  /** The candidates that are left, the best first. */
  readonly left: Candidate[];
  /** What was open, and how many were chosen, before it. */
  readonly open: readonly Demand[];
  readonly chosen: number;
}

/** Choices that may be taken back before the search gives up: real indexes need a handful. */
const MAX_STEPS = 100_000;

/**
 * Packages that satisfy all demands together with those that are chosen already: a search in depth that takes what has one way first, then
 * the demands in their order, the best candidate first, and goes back when it cannot go on.
 * @throws ApkError UNSATISFIABLE with the first demand that could not be met.
 */
export function solve(possibilities: Possibilities, world: readonly Demand[], selection: Selection = new Selection()): Selection {
  for (const { dependency, by } of world) if (dependency.conflict) selection.forbid(dependency, by);
  let open: readonly Demand[] = world.filter(({ dependency }) => !dependency.conflict);
  const choices: Choice[] = [];
  let failure: ApkError | undefined;
  for (let steps = 0; ; ) {
    const next = mostUrgent(open, possibilities, selection);
    if (next === undefined) return selection;
    const { demand, ways } = next;
    if (ways.length > 0) {
      choices.push({ demand, left: [...ways], open, chosen: selection.chosen.length });
    } else {
      failure ??= unsatisfiable(demand, possibilities, selection);
      if (++steps > MAX_STEPS) throw failure;
    }
    const taken = takeNext(choices, selection);
    if (taken === undefined) throw failure ?? unsatisfiable(demand, possibilities, selection);
    open = taken;
  }
}

/** The next way of the last choice that has one; undefined when all is tried. */
function takeNext(choices: Choice[], selection: Selection): readonly Demand[] | undefined {
  for (let choice = choices.at(-1); choice !== undefined; choice = choices.at(-1)) {
    selection.shrink(choice.chosen);
    const candidate = choice.left.shift();
    if (candidate === undefined) {
      choices.pop();
      continue;
    }
    selection.add(candidate);
    const { demand, open } = choice;
    const pins = new Set([...demand.pins, ...pinsOf(demand.dependency)]);
    const wants = candidate.depends.filter((dependency) => !dependency.conflict).map((dependency) => ({ dependency, by: candidate, pins }));
    // Deeper before shallower, as both tools go.
    return [...wants, ...open.filter((one) => one !== demand)];
  }
  return undefined;
}

/** The demand to meet next, with who can meet it now; undefined when all are met. */
function mostUrgent(open: readonly Demand[], possibilities: Possibilities, selection: Selection): { demand: Demand; ways: readonly Candidate[] } | undefined {
  let first: { demand: Demand; ways: readonly Candidate[] } | undefined;
  for (const demand of open) {
    if (selection.provider(demand.dependency) !== undefined) continue;
    const ways = possibilities.usable(demand.dependency, demand.pins).filter((candidate) => selection.objection(candidate) === undefined);
    if (ways.length < 2) return { demand, ways };
    first ??= { demand, ways };
  }
  return first;
}

function unsatisfiable({ dependency, by, pins }: Demand, possibilities: Possibilities, selection: Selection): ApkError {
  const who = by === undefined ? "is asked for" : `is needed by ${label(by)}${chain(by, selection)}`;
  const lines = [`${dependency.text} ${who}, and cannot be had:`];
  const usable = possibilities.usable(dependency, pins);
  if (usable.length === 0) lines.push(...possibilities.explain(dependency, pins));
  for (const candidate of usable) {
    const objection = selection.objection(candidate);
    if (objection === undefined) continue;
    lines.push(`  ${label(candidate)}: ${objection.reason}${objection.by === undefined ? "" : chain(objection.by, selection)}`);
  }
  return new ApkError("UNSATISFIABLE", lines.map((line) => line.trim()).join(" "), {
    hint: "Ask for other packages or versions, or add a repository that has them.",
  });
}

/** Why a package is there: who needs it, up to the world. */
function chain(candidate: Candidate, selection: Selection): string {
  const path: string[] = [];
  const seen = new Set([candidate]);
  for (let at = candidate; path.length < 6; ) {
    const by = selection.chosen.find(
      (one) => !seen.has(one) && one.depends.some((dependency) => !dependency.conflict && selection.provider(dependency) === at),
    );
    if (by === undefined) break;
    path.push(label(by));
    seen.add(by);
    at = by;
  }
  return path.length === 0 ? "" : `, which is needed by ${path.join(", by ")}`;
}
