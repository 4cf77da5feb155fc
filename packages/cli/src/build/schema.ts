import { type Member, type Members, sections, topMembers } from "./members.ts";

const string = { type: "string", minLength: 1 } as const;

/** The JSON Schema of build files, for editors. */
export function buildSchema(): object {
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    $id: "https://imgkit.invalid/schema/build-1.json",
    title: "imgkit build file, build/1",
    ...object(
      {
        ...properties(topMembers),
        ...Object.fromEntries(Object.entries(sections).map(([name, members]) => [name, object(properties(members))])),
      },
      ["imgkit", "source", "outputs"],
    ),
  };
}

function object(members: object, required: readonly string[] = []): object {
  return { type: "object", additionalProperties: false, properties: members, ...(required.length === 0 ? {} : { required }) };
}

function properties(members: Members): object {
  return Object.fromEntries(Object.entries(members).map(([name, member]) => [name, { description: member.about, ...shape(member) }]));
}

function shape({ kind, choices }: Member): object {
  if (choices !== undefined) return { enum: choices };
  switch (kind) {
    case "seconds":
      return { type: "integer", minimum: 0 };
    case "yes":
    case "flag":
      return { type: "boolean" };
    case "list":
    case "paths":
    case "sources":
    case "command":
      return { type: "array", items: string };
    case "pairs":
      return { type: "object", minProperties: 1, additionalProperties: { type: "string" } };
    case "files":
      return { type: "object", minProperties: 1, additionalProperties: string };
    default:
      return string;
  }
}
