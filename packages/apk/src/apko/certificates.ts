// `certificates` of an apko.yaml, by apko's pkg/build/certificates.go: more certificates for the bundles that packages bring.
import { portableSha256, toHex } from "@imgkit/bytes";
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";
import { textBundles, trustStores } from "./bundles.ts";
import type { ApkoCertificates } from "./config-parts.ts";
import { decodePem, encodePem } from "./pem.ts";

const FOLDER = "usr/local/share/ca-certificates";

/** The names that a package provides, and the paths of its files. */
export interface Provider {
  readonly provides: readonly string[];
  readonly paths: readonly string[];
}

/**
 * Writes the additional certificates into a folder of their own, and puts them and those of the providers behind the bundles that are there.
 * `mtime` in nanoseconds since 1970.
 * @throws ApkError BAD_CONFIG for what is no certificate; UNSUPPORTED where there is a trust store of Java's.
 */
export async function addCertificates(root: Root, certificates: ApkoCertificates, installed: readonly Provider[], mtime: bigint): Promise<void> {
  const pems: string[] = [];
  for (const { name, content } of certificates.additional) {
    const der = decodePem(content, "CERTIFICATE");
    if (der === undefined)
      throw new ApkError("BAD_CONFIG", "not a certificate", { path: name, field: "certificates.additional", expected: "one PEM block, BEGIN CERTIFICATE" });
    const pem = encodePem(der, "CERTIFICATE");
    root.folder(FOLDER);
    root.file(`${root.resolve(FOLDER)}/${name}-${toHex(portableSha256.hash(der))}.crt`, pem, 0o644, mtime);
    pems.push(pem);
  }
  for (const path of providedFiles(certificates, installed)) {
    const der = decodePem((await root.text(path)) ?? "", "CERTIFICATE");
    // As apko has it: a file that holds something else, or several, is left out.
    if (der !== undefined) pems.push(encodePem(der, "CERTIFICATE"));
  }
  if (pems.length === 0) return;
  const store = trustStores.find((path) => root.followed(path) !== undefined);
  if (store !== undefined) {
    const hint = "Leave certificates out, or build with apko.";
    throw new ApkError("UNSUPPORTED", "certificates for a trust store of Java's are not supported", { path: store, field: "certificates", hint });
  }
  for (const bundle of textBundles) {
    const file = root.followed(bundle);
    if (file?.type !== "file") continue;
    root.file(file.path, `${(await root.text(file.path)) ?? ""}${pems.map((pem) => `${pem}\n`).join("")}`, file.mode, mtime);
  }
}

function providedFiles({ providers }: ApkoCertificates, installed: readonly Provider[]): string[] {
  const paths = installed.filter(({ provides }) => provides.some((name) => providers.includes(name))).flatMap((one) => one.paths);
  return [...new Set(paths)].filter((path) => path.startsWith(`${FOLDER}/`) && /\.(crt|pem)$/.test(path)).sort();
}
