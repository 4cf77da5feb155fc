// What a registry's refusal says (distribution-spec, "Error Codes"), as an error of ours.
import { parseRetryAfter } from "@imgkit/core";
import { clip } from "../clip.ts";
import { OciError, type OciErrorCode } from "../errors.ts";
import { parseJson } from "../json-read.ts";
import { isObject } from "../shape.ts";
import { type Body, isUntrusted, readBody } from "./body.ts";

/** Longest explanation that is read. */
const MAX_EXPLANATION = 64 << 10;

/** Answers after which the same request may go better. */
const passing: readonly number[] = [408, 429, 500, 502, 503, 504];

const hints: Readonly<Record<number, string>> = {
  401: "Log in, or ask for the right to do this.",
  403: "Log in, or ask for the right to do this.",
  413: "Push in pieces: choose a smaller chunk size.",
};

/** Errors that pass, with the wait that the registry asked for in milliseconds. */
const waits = new WeakMap<OciError, number>();

interface RefusingAnswer {
  readonly status: number;
  readonly url: URL;
  readonly body: Body;
  header(name: string): string | undefined;
}

/** The error for an answer that is not the one hoped for. Reads its body. */
export async function answerError(answer: RefusingAnswer, method: string, now: number): Promise<OciError> {
  const { status, url } = answer;
  const explanation = await explain(answer.body);
  // Without the query: signed addresses carry secrets there.
  const facts = { path: clip(`${method} ${url.protocol}//${url.host}${url.pathname}`, 300), found: clip(`${status}${explanation}`, 300) };
  const hint = hints[status] === undefined ? {} : { hint: hints[status] };
  const [code, sentence] = meaning(status);
  const error = new OciError(code, sentence, { ...facts, ...hint }, status >= 500 || status === 429 || status < 400 ? "system" : "input");
  if (passing.includes(status)) waits.set(error, parseRetryAfter(answer.header("retry-after")?.trim() ?? "", now) ?? 0);
  return error;
}

function meaning(status: number): readonly [code: OciErrorCode, sentence: string] {
  if (status === 401) return ["REGISTRY_AUTH", "the registry wants other credentials"];
  if (status === 403) return ["REGISTRY_AUTH", "the registry does not allow this"];
  if (status === 404) return ["REGISTRY_NOT_FOUND", "the registry does not have this"];
  if (status === 429 || status === 503) return ["REGISTRY_BUSY", "the registry is busy"];
  if (status >= 500) return ["REGISTRY_FAILED", "the registry failed"];
  if (status >= 400) return ["REGISTRY_REFUSED", "the registry refused the request"];
  return ["REGISTRY_PROTOCOL", "the registry answered what the specification does not know here"];
}

/** ` CODE: message` of each error in the body, or nothing. */
async function explain(body: Body): Promise<string> {
  try {
    const bytes = await readBody(body, MAX_EXPLANATION);
    const value = bytes === undefined ? undefined : parseJson(bytes);
    if (!isObject(value) || !Array.isArray(value.errors)) return "";
    const lines = value.errors.filter(isObject).map(({ code, message }) => [code, message].filter((one) => typeof one === "string" && one !== "").join(": "));
    return lines.map((line) => ` ${line}`).join(";");
  } catch {
    // The status says enough; that its explanation is unreadable is not what went wrong.
    return "";
  } finally {
    body.cancel();
  }
}

/** Whether the same request may go better the next time; and after how many milliseconds at least. */
export function passingWait(error: unknown): number | undefined {
  if (!(error instanceof OciError)) return undefined;
  if (error.code === "NETWORK_FAILED") return isUntrusted(error.cause) ? undefined : 0;
  return error.code === "NETWORK_TIMEOUT" ? 0 : waits.get(error);
}
