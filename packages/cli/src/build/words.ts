import type { Member, Members } from "./members.ts";
import type { Section, Value } from "./read.ts";

/** The words of a command line that say the same as a section. */
export function wordsOf(section: Section, members: Members): string[] {
  return Object.entries(section).flatMap(([name, value]) => {
    const member = members[name];
    return member === undefined ? [] : words(`--${member.option ?? name}`, value, member);
  });
}

function words(option: string, value: Value, { kind }: Member): string[] {
  if (typeof value === "boolean") {
    if (kind === "flag") return value ? [option] : [];
    return value ? [] : [option.replace(/^--/, "--no-")];
  }
  // With `=`, so that no value is taken for an option.
  if (typeof value === "string" || typeof value === "number") return [`${option}=${value}`];
  if (isList(value)) return kind === "command" ? [`${option}=${JSON.stringify(value)}`] : value.map((one) => `${option}=${one}`);
  return Object.entries(value).map(([name, one]) => `${option}=${name}=${one}`);
}

function isList(value: Value): value is readonly string[] {
  return Array.isArray(value);
}
