import type { Dependency } from "../dependency.ts";
import { type Candidate, type Catalogue, comparePreference, label, matches } from "./candidate.ts";

// Before anything is chosen: packages that can never be installed, since something that they need is nowhere, are out. It keeps the search
// short, and gives most explanations.

/** What can be said of who could satisfy a dependency. */
export class Possibilities {
  readonly #catalogue: Catalogue;
  readonly #impossible = new Map<Candidate, Dependency>();
  readonly #cache = new Map<string, readonly Candidate[]>();

  readonly #reached = new Map<Candidate, Set<string>>();

  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue;
  }

  /** Looks at all that these dependencies can lead to: to be done before anything is asked about them. */
  reach(wanted: readonly Dependency[]): void {
    if (this.#follow(wanted)) this.#rule();
  }

  /** True when there was something new. */
  #follow(wanted: readonly Dependency[]): boolean {
    const queue: { dependency: Dependency; pins: ReadonlySet<string> }[] = wanted.map((dependency) => ({ dependency, pins: pinsOf(dependency) }));
    let found = false;
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (next.dependency.conflict) continue;
      for (const candidate of this.all(next.dependency)) {
        if (candidate.pin !== undefined && !next.pins.has(candidate.pin)) continue;
        const before = this.#reached.get(candidate);
        if (before !== undefined && [...next.pins].every((pin) => before.has(pin))) continue;
        const pins = new Set([...(before ?? []), ...next.pins]);
        this.#reached.set(candidate, pins);
        found = true;
        for (const dependency of candidate.depends) queue.push({ dependency, pins });
      }
    }
    return found;
  }

  /** Whoever needs what nobody can give is out, and then whoever needs that. */
  #rule(): void {
    this.#impossible.clear();
    for (let changed = true; changed; ) {
      changed = false;
      for (const [candidate, pins] of this.#reached) {
        if (this.#impossible.has(candidate)) continue;
        const lacking = candidate.depends.find((dependency) => !dependency.conflict && !this.#any(dependency, pins));
        if (lacking === undefined) continue;
        this.#impossible.set(candidate, lacking);
        changed = true;
      }
    }
  }

  #any(dependency: Dependency, pins: ReadonlySet<string>): boolean {
    return this.all(dependency).some((candidate) => !this.#impossible.has(candidate) && (candidate.pin === undefined || pins.has(candidate.pin)));
  }

  /** Who matches a dependency at all, the best first. */
  all(dependency: Dependency): readonly Candidate[] {
    const key = `${dependency.text}@${dependency.pin ?? ""}`;
    const known = this.#cache.get(key);
    if (known !== undefined) return known;
    const found = (this.#catalogue.byName.get(dependency.name) ?? [])
      .filter((candidate) => matches(candidate, dependency))
      .sort(comparePreference(dependency.name, dependency.pin));
    this.#cache.set(key, found);
    return found;
  }

  /** Who could satisfy a dependency for somebody with these pins, the best first. */
  usable(dependency: Dependency, pins: ReadonlySet<string>): readonly Candidate[] {
    return this.all(dependency).filter((candidate) => !this.#impossible.has(candidate) && (candidate.pin === undefined || pins.has(candidate.pin)));
  }

  /** Why nobody can satisfy a dependency: indented lines, the cause innermost. */
  explain(dependency: Dependency, pins: ReadonlySet<string>, depth: number = 0): string[] {
    const indent = "  ".repeat(depth + 1);
    const offers = this.#catalogue.byName.get(dependency.name) ?? [];
    const broken = this.#catalogue.broken.filter(({ info }) => info.name === dependency.name);
    if (offers.length === 0 && broken.length === 0) return [`${indent}nothing provides ${dependency.name}`];
    const lines = broken.map(({ info, error }) => `${indent}${info.name}-${info.version} cannot be used: ${error.message}`);
    for (const candidate of offers.slice(0, MAX_OFFERS)) {
      const lacking = this.#impossible.get(candidate);
      if (!matches(candidate, dependency)) lines.push(`${indent}${label(candidate)} is no ${dependency.text}`);
      else if (candidate.pin !== undefined && !pins.has(candidate.pin)) lines.push(`${indent}${label(candidate)} is in @${candidate.pin} only`);
      else if (lacking !== undefined) {
        lines.push(`${indent}${label(candidate)} needs ${lacking.text}:`);
        lines.push(...(depth < MAX_DEPTH ? this.explain(lacking, pins, depth + 1) : [`${indent}  …`]));
      }
    }
    if (offers.length > MAX_OFFERS) lines.push(`${indent}and ${offers.length - MAX_OFFERS} more`);
    return lines;
  }
}

const MAX_OFFERS = 5;
const MAX_DEPTH = 8;

export function pinsOf({ pin }: Dependency): ReadonlySet<string> {
  return new Set(pin === undefined ? [] : [pin]);
}
