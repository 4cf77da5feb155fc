// A folder of certificates as containers-certs.d(5) has it: what `--cert-dir` of skopeo and podman names.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readError } from "@imgkit/bytes/node";
import { OciError } from "../errors.ts";
import type { NodeNetworkOptions } from "./network.node.ts";

/**
 * Reads `*.crt` as authorities to be trusted, and one pair `NAME.cert` and `NAME.key` as the client's own. For `nodeNetwork`.
 * @throws BytesError when the folder cannot be read; OciError BAD_CREDENTIALS for a certificate without its key, or more than one pair.
 */
export function readCertificates(folder: string): Pick<NodeNetworkOptions, "ca" | "client"> {
  const names = read(folder, () => readdirSync(folder)).sort();
  const text = (name: string): string => read(join(folder, name), () => readFileSync(join(folder, name), "utf8"));
  const ca = names.filter((name) => name.endsWith(".crt")).map(text);
  const [certificate, ...others] = names.filter((name) => name.endsWith(".cert"));
  if (certificate === undefined) return { ca };
  const key = `${certificate.slice(0, -".cert".length)}.key`;
  if (others.length > 0 || !names.includes(key)) {
    throw new OciError("BAD_CREDENTIALS", "not a folder of certificates", {
      path: folder,
      expected: `one pair NAME.cert and NAME.key`,
      found: [certificate, ...others].join(", "),
    });
  }
  return { ca, client: { certificate: text(certificate), key: text(key) } };
}

function read<T>(path: string, job: () => T): T {
  try {
    return job();
  } catch (cause) {
    throw readError(path, cause);
  }
}
