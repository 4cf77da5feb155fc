import { readFileSync } from "node:fs";
import { readError, statPath } from "@imgkit/bytes/node";
import { type JsonObject, type JsonValue, parseJson } from "@imgkit/oci";
import { CliError } from "../errors.ts";
import { type BuildRecord, RECORD_SCHEMA, type RecordedFile } from "../record.ts";

/** A record as it was read. */
export interface ReadRecord extends BuildRecord {
  /** The version that ran. */
  readonly imgkit: string;
}

/** Bytes; records are a few kilobytes. */
const MAX_RECORD = 4 << 20;

/**
 * The record in a file, or undefined for a file that is something else.
 * @throws CliError BAD_RECORD naming the member.
 */
export function readRecord(path: string): ReadRecord | undefined {
  const stat = statPath(path);
  if (stat?.isFile() !== true || stat.size > MAX_RECORD) return undefined;
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw readError(path, cause);
  }
  // What starts otherwise is a tar or an image; a lock has another schema.
  if (bytes[0] !== 0x7b) return undefined;
  const document = parseJson(bytes, { path });
  return isObject(document) && document.schema === RECORD_SCHEMA ? new Check(path).record(document) : undefined;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

class Check {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  refuse(field: string, expected: string, found: JsonValue | undefined): never {
    throw new CliError("BAD_RECORD", "not a record of imgkit", { path: this.#path, field, expected, found: JSON.stringify(found) ?? "nothing" });
  }

  record(document: JsonObject): ReadRecord {
    const { epoch } = document;
    if (epoch !== undefined && typeof epoch !== "number") this.refuse("$.epoch", "a number of seconds", epoch);
    return {
      imgkit: this.text(document.imgkit, "$.imgkit"),
      command: this.text(document.command, "$.command"),
      arguments: this.list(document.arguments, "$.arguments").map((word, i) => this.text(word, `$.arguments[${i}]`)),
      epoch,
      inputs: this.list(document.inputs, "$.inputs").map((file, i) => this.file(file, `$.inputs[${i}]`)),
      outputs: this.list(document.outputs, "$.outputs").map((file, i) => this.file(file, `$.outputs[${i}]`)),
    };
  }

  file(value: JsonValue, field: string): RecordedFile {
    if (!isObject(value)) return this.refuse(field, "an object", value);
    const { size, tool } = value;
    if (typeof size !== "number") this.refuse(`${field}.size`, "a size in bytes", size);
    return {
      name: this.text(value.name, `${field}.name`),
      kind: this.text(value.kind, `${field}.kind`) as RecordedFile["kind"],
      digest: this.text(value.digest, `${field}.digest`),
      size,
      ...(tool === undefined ? {} : { tool: this.text(tool, `${field}.tool`) }),
    };
  }

  list(value: JsonValue | undefined, field: string): readonly JsonValue[] {
    return Array.isArray(value) ? value : this.refuse(field, "a list", value);
  }

  text(value: JsonValue | undefined, field: string): string {
    return typeof value === "string" ? value : this.refuse(field, "a text", value);
  }
}
