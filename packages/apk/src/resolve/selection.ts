import type { Dependency } from "../dependency.ts";
import { type Candidate, matches } from "./candidate.ts";

/**
 * The packages that are chosen so far, and what stands against choosing more. A name that a package provides with a version, its own
 * among them, is that package's alone; a virtual name can have several providers.
 */
export class Selection {
  readonly #chosen: Candidate[] = [];
  readonly #providers = new Map<string, { readonly candidate: Candidate; readonly owned: boolean }[]>();
  readonly #conflicts = new Map<string, { readonly dependency: Dependency; readonly by: Candidate | undefined }[]>();

  get chosen(): readonly Candidate[] {
    return this.#chosen;
  }

  has(candidate: Candidate): boolean {
    return this.#chosen.includes(candidate);
  }

  /** Who among the chosen satisfies a dependency. */
  provider(dependency: Dependency): Candidate | undefined {
    return this.#providers.get(dependency.name)?.find(({ candidate }) => matches(candidate, dependency))?.candidate;
  }

  /** Why a package cannot be chosen as well: a sentence, or undefined when it can. */
  objection(candidate: Candidate): { readonly reason: string; readonly by: Candidate | undefined } | undefined {
    for (const { name, version } of candidate.provides) {
      for (const { candidate: other, owned } of this.#providers.get(name) ?? []) {
        if (other === candidate || (!owned && version === undefined)) continue;
        return {
          reason: other.info.name === name ? `${name}-${other.info.version} is chosen` : `${other.info.name}-${other.info.version} provides ${name}`,
          by: other,
        };
      }
      for (const { dependency, by } of this.#conflicts.get(name) ?? []) {
        if (by === candidate || !matches(candidate, dependency)) continue;
        return { reason: `${by === undefined ? "the world" : `${by.info.name}-${by.info.version}`} wants ${dependency.text}`, by };
      }
    }
    for (const dependency of candidate.depends) {
      if (!dependency.conflict) continue;
      const other = this.#providers.get(dependency.name)?.find((one) => one.candidate !== candidate && matches(one.candidate, dependency));
      if (other !== undefined)
        return { reason: `it wants ${dependency.text}, and ${other.candidate.info.name}-${other.candidate.info.version} is chosen`, by: other.candidate };
    }
    return undefined;
  }

  /** Takes a package that nothing stands against. */
  add(candidate: Candidate): void {
    this.#chosen.push(candidate);
    for (const { name, version } of candidate.provides) push(this.#providers, name, { candidate, owned: version !== undefined });
    for (const dependency of candidate.depends) if (dependency.conflict) this.forbid(dependency, candidate);
  }

  /** Notes a `!` dependency. */
  forbid(dependency: Dependency, by: Candidate | undefined): void {
    push(this.#conflicts, dependency.name, { dependency, by });
  }

  /** Takes back the last packages, down to a number of them. */
  shrink(length: number): void {
    while (this.#chosen.length > length) {
      const candidate = this.#chosen.pop() as Candidate;
      for (const { name } of candidate.provides) remove(this.#providers, name, (one) => one.candidate === candidate);
      for (const dependency of candidate.depends) if (dependency.conflict) remove(this.#conflicts, dependency.name, (one) => one.by === candidate);
    }
  }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function remove<T>(map: Map<string, T[]>, key: string, which: (value: T) => boolean): void {
  const list = map.get(key)?.filter((value) => !which(value));
  if (list === undefined || list.length === 0) map.delete(key);
  else map.set(key, list);
}
