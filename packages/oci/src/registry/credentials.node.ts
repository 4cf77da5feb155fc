// Where credentials are on this machine: the files of Podman, Skopeo and Docker, and the helpers that these files name.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readError } from "@imgkit/bytes/node";
import { OciError } from "../errors.ts";
import type { Credentials, CredentialsLookup } from "./auth.ts";
import { type AuthFile, credentialsIn, parseAuthFile, parseHelperAnswer } from "./auth-file.ts";

export interface CredentialsOptions {
  /** The environment: `process.env`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The one file to read (`--authfile`); default those that the environment names. */
  readonly file?: string;
}

/**
 * Looks credentials up where Podman, Skopeo and Docker have them: the given file; else `$REGISTRY_AUTH_FILE`; else
 * `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json` (default `~/.config`), and
 * `$DOCKER_CONFIG/config.json` (default `~/.docker`), the first that knows the registry. Files are read once.
 * The lookup throws OciError BAD_CREDENTIALS, JSON_* for a file or helper that is of no use; BytesError when one cannot be read.
 */
export function nodeCredentials({ env, file }: CredentialsOptions): CredentialsLookup {
  let files: readonly AuthFile[] | undefined;
  return async (registry, repository) => {
    files ??= read(env, file);
    for (const one of files) {
      const found = credentialsIn(one, registry, repository);
      if (found === undefined) continue;
      if ("credentials" in found) return found.credentials;
      const answer = await askHelper(found.helper, found.server, env);
      if (answer !== undefined) return answer;
    }
    return undefined;
  };
}

function read(env: CredentialsOptions["env"], file: string | undefined): readonly AuthFile[] {
  const named = file ?? set(env.REGISTRY_AUTH_FILE);
  if (named !== undefined) return [parseAuthFile(readFile(named), named)];
  const home = set(env.HOME) ?? set(env.USERPROFILE);
  const below = (folder: string | undefined, ...names: string[]): string[] => (folder === undefined ? [] : [join(folder, ...names)]);
  const config = set(env.XDG_CONFIG_HOME) ?? below(home, ".config")[0];
  const docker = set(env.DOCKER_CONFIG) ?? below(home, ".docker")[0];
  const paths = [...below(set(env.XDG_RUNTIME_DIR), "containers", "auth.json"), ...below(config, "containers", "auth.json"), ...below(docker, "config.json")];
  return paths.flatMap((path) => {
    const bytes = readIfThere(path);
    return bytes === undefined ? [] : [parseAuthFile(bytes, path)];
  });
}

function set(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}

function readFile(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw readError(path, cause);
  }
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw readError(path, cause);
  }
}

/** How long a helper may take, in milliseconds: it may ask somebody. */
const HELPER_TIMEOUT = 120_000;
const MAX_OUTPUT = 1 << 20;

/** `docker-credential-NAME get`, with the server's address on standard input; undefined when the helper has nothing for it. */
function askHelper(name: string, server: string, env: CredentialsOptions["env"]): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  return new Promise((resolve, reject) => {
    const fail = (found: string, cause?: unknown): void =>
      reject(new OciError("BAD_CREDENTIALS", "a credential helper failed", { path: program, found, ...(cause === undefined ? {} : { cause }) }, "system"));
    const child = spawn(program, ["get"], { env, stdio: ["pipe", "pipe", "ignore"], timeout: HELPER_TIMEOUT, windowsHide: true });
    const chunks: Buffer[] = [];
    let size = 0;
    child.on("error", (cause) => fail(cause.message, cause));
    child.stdout.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_OUTPUT) child.kill();
      else chunks.push(chunk);
    });
    // A helper that does not read what it is asked for has ended, which its status tells.
    child.stdin.on("error", () => undefined);
    child.stdin.end(server);
    child.on("close", (code, signal) => {
      const output = Buffer.concat(chunks);
      // What all helpers of docker-credential-helpers write, with status 1.
      if (code !== 0 && output.toString("utf8").trim() === "credentials not found in native keychain") return resolve(undefined);
      if (code !== 0) return fail(signal === null ? `exit status ${code}` : `ended by ${signal}`);
      try {
        resolve(parseHelperAnswer(output, program));
      } catch (error) {
        reject(error);
      }
    });
  });
}
