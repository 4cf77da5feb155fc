// Members of an apko.yaml that are maps of their own: layering, the base image, services, certificates and keys that stand in the file.
import type { MemberReader } from "./members.ts";

/** An image that the packages are put on, as a layer. */
export interface ApkoBaseImage {
  /** The folder of its OCI layout. */
  readonly image: string;
  /** The folder with its database: `ARCH/APKINDEX`. */
  readonly apkindex: string;
}

export interface ApkoLayering {
  readonly strategy?: "origin";
  /** Layers for packages, at most; there is one besides them. Default 0, which is one. */
  readonly budget?: number;
}

/** A key or certificate in PEM, and the name that its file gets. */
export interface ApkoPem {
  readonly name: string;
  readonly content: string;
}

export interface ApkoCertificates {
  /** Put into the bundles that packages bring, and beside them. */
  readonly additional: readonly ApkoPem[];
  /** Packages that provide one of these names bring certificates for the bundles. */
  readonly providers: readonly string[];
}

export interface ApkoEntrypoint {
  readonly command?: string;
  readonly shellFragment?: string;
  /** s6 runs the services. */
  readonly type?: "service-bundle";
  /** Commands by the names of services. */
  readonly services?: Readonly<Record<string, string>>;
}

export function readBaseImage(read: MemberReader, value: unknown): { baseImage?: ApkoBaseImage } {
  if (value === undefined || value === null) return {};
  const { image, apkindex } = read.members(value, "contents.baseimage", ["image", "apkindex"]);
  return { baseImage: { image: read.text(image, "contents.baseimage.image"), apkindex: read.text(apkindex, "contents.baseimage.apkindex") } };
}

export function readLayering(read: MemberReader, value: unknown): { layering?: ApkoLayering } {
  if (value === undefined || value === null) return {};
  const { strategy, budget } = read.members(value, "layering", ["strategy", "budget"]);
  // `layering: {}` is allowed, and no layering.
  if (strategy !== "origin" && (strategy !== undefined || budget !== undefined)) read.refuse("layering.strategy", "origin", strategy);
  return { layering: { ...(strategy === undefined ? {} : { strategy: "origin" }), ...read.id("budget", budget, "layering.budget") } };
}

export function readEntrypoint(read: MemberReader, value: unknown): ApkoEntrypoint {
  const {
    command,
    "shell-fragment": shellFragment,
    type,
    services: given,
  } = read.members(value, "entrypoint", ["command", "shell-fragment", "type", "services"]);
  const services = read.map(given, "entrypoint.services");
  // A name becomes a folder.
  const bad = Object.keys(services).find((name) => !FILE_NAME.test(name));
  if (bad !== undefined) read.refuse("entrypoint.services", `names of services: ${FILE_NAME.source}`, bad);
  if (type !== undefined && type !== null && type !== "service-bundle") read.refuse("entrypoint.type", "service-bundle", type);
  return {
    ...read.maybe("command", command, "entrypoint.command"),
    ...read.maybe("shellFragment", shellFragment, "entrypoint.shell-fragment"),
    ...(type === "service-bundle" ? { type } : {}),
    ...(Object.keys(services).length === 0 ? {} : { services }),
  };
}

/** Of keys, certificates and services: no path, and nothing hidden. */
const FILE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/;

/** A list of names and PEM texts. */
export function readPems(read: MemberReader, value: unknown, field: string): readonly ApkoPem[] {
  return read.list(value, field).map((one, i) => {
    const at = `${field}[${i}]`;
    const { name, content } = read.members(one, at, ["name", "content"]);
    if (typeof name !== "string" || !FILE_NAME.test(name)) return read.refuse(`${at}.name`, `a name: ${FILE_NAME.source}`, name);
    if (typeof content !== "string" || content === "" || content.length > MAX_PEM) return read.refuse(`${at}.content`, "a text in PEM", content);
    return { name, content };
  });
}

const MAX_PEM = 65_536;

export function readCertificates(read: MemberReader, value: unknown): { certificates?: ApkoCertificates } {
  if (value === undefined || value === null) return {};
  const { additional, providers } = read.members(value, "certificates", ["additional", "providers"]);
  const pems = readPems(read, additional, "certificates.additional");
  return { certificates: { additional: pems, providers: read.texts(providers, "certificates.providers") } };
}
