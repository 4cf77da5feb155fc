import { readFileSync } from "node:fs";
import { readError } from "@imgkit/bytes/node";
import { createRegistryClient, type Mirror, type RegistryClient } from "@imgkit/oci";
import { nodeCredentials, nodeEngines, nodeNetwork, readCertificates } from "@imgkit/oci/node";
import type { Io } from "../io.ts";
import { version } from "../version.ts";
import type { RegistryFlags } from "./flags.ts";

/** The client that the options describe; nothing is asked of anybody yet. */
export function registryClient({ authfile, plainHttp = [], ca = [], certDir, mirror = [] }: RegistryFlags, { env, signal }: Io): RegistryClient {
  const mirrors: Record<string, Mirror[]> = {};
  for (const { registry, location } of mirror) mirrors[registry] = [...(mirrors[registry] ?? []), { location }];
  const found = certDir === undefined ? {} : readCertificates(certDir);
  const trusted = [...(found.ca ?? []), ...ca.map(readAuthorities)];
  return createRegistryClient({
    network: nodeNetwork({ env, ...found, ...(trusted.length === 0 ? {} : { ca: trusted }) }),
    credentials: nodeCredentials({ env, ...(authfile === undefined ? {} : { file: authfile }) }),
    plainHttp,
    mirrors,
    userAgent: `imgkit/${version()}`,
    sha256: nodeEngines.sha256,
    signal,
  });
}

function readAuthorities(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw readError(path, cause);
  }
}

const TRANSPORT = "docker://";

/** Whether X names an image in a registry. */
export function isRemote(x: string): boolean {
  return x.startsWith(TRANSPORT);
}

/** The reference behind `docker://`. */
export function referenceOf(x: string): string {
  return isRemote(x) ? x.slice(TRANSPORT.length) : x;
}
