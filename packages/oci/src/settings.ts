// The execution parameters of an image as imgkit writes them: config.md's `config`, each value checked before it gets there.
import { OciError } from "./errors.ts";
import { checkText } from "./json-write.ts";
import type { ExecutionConfig } from "./types.ts";
import { USER_SHAPE, userIsWellFormed } from "./user.ts";

/** How a container of the image starts. Absent members are left out of the config. */
export interface ImageSettings {
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  /** `NAME=VALUE`, in the order in which they are written; no name twice. */
  readonly env?: readonly string[];
  /** An absolute path. */
  readonly workdir?: string;
  /** `USER[:GROUP]`, names or ids; ids of at most 2^31 − 1. */
  readonly user?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** `PORT[/tcp|/udp|/sctp]`, ports 1 to 65535. */
  readonly exposedPorts?: readonly string[];
  /** Absolute paths. */
  readonly volumes?: readonly string[];
  /** `SIGTERM`, `SIGRTMIN+3`, or a number. */
  readonly stopSignal?: string;
}

/**
 * The `config` of an image configuration.
 * @throws OciError BAD_CONFIG naming the setting.
 */
export function executionConfig(settings: ImageSettings): ExecutionConfig {
  const { entrypoint, cmd, env, workdir, user, labels, exposedPorts, volumes, stopSignal } = settings;
  entrypoint?.forEach((part, i) => {
    need(`entrypoint[${i}]`, part, i > 0 || part !== "", "a command that is not empty");
  });
  cmd?.forEach((part, i) => {
    need(`cmd[${i}]`, part);
  });
  if (env !== undefined) checkEnv(env);
  if (workdir !== undefined) need("workdir", workdir, workdir.startsWith("/"), "an absolute path");
  if (user !== undefined) need("user", user, userIsWellFormed(user), USER_SHAPE);
  for (const [key, value] of Object.entries(labels ?? {})) need(`labels[${JSON.stringify(key)}]`, value, key !== "", "a key that is not empty");
  for (const [i, port] of (exposedPorts ?? []).entries()) need(`exposedPorts[${i}]`, port, isPort(port), "PORT, PORT/tcp, PORT/udp or PORT/sctp, 1 to 65535");
  for (const [i, path] of (volumes ?? []).entries()) need(`volumes[${i}]`, path, path.startsWith("/"), "an absolute path");
  if (stopSignal !== undefined) need("stopSignal", stopSignal, /^(SIG[A-Z][A-Z0-9]*([+-][0-9]+)?|[1-9][0-9]?)$/.test(stopSignal), "a signal such as SIGTERM");
  return {
    ...(user === undefined ? {} : { User: user }),
    ...(exposedPorts === undefined ? {} : { ExposedPorts: keySet(exposedPorts) }),
    ...(env === undefined ? {} : { Env: env }),
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    ...(cmd === undefined ? {} : { Cmd: cmd }),
    ...(volumes === undefined ? {} : { Volumes: keySet(volumes) }),
    ...(workdir === undefined ? {} : { WorkingDir: workdir }),
    ...(labels === undefined ? {} : { Labels: labels }),
    ...(stopSignal === undefined ? {} : { StopSignal: stopSignal }),
  };
}

function checkEnv(env: readonly string[]): void {
  const names = new Set<string>();
  for (const [i, entry] of env.entries()) {
    const name = entry.slice(0, Math.max(0, entry.indexOf("=")));
    need(`env[${i}]`, entry, name !== "", "NAME=VALUE");
    need(`env[${i}]`, entry, !names.has(name), "a name that was not set before");
    names.add(name);
  }
}

function isPort(text: string): boolean {
  const [, port = "0"] = /^([1-9][0-9]{0,4})(\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  return port !== "0" && Number(port) <= 65_535;
}

function keySet(keys: readonly string[]): Record<string, Record<string, never>> {
  return Object.fromEntries(keys.map((key) => [key, {}]));
}

/** Every text must be UTF-8 and without NUL: no process can be given one. */
function need(field: string, value: string, right: boolean = true, expected: string = "a text"): void {
  if (value.includes("\0")) throw new OciError("BAD_CONFIG", "a setting holds a NUL byte", { field, expected: "no NUL", found: JSON.stringify(value) });
  if (!right) throw new OciError("BAD_CONFIG", "a setting that an image cannot hold", { field, expected, found: JSON.stringify(value) });
  checkText(value);
}
