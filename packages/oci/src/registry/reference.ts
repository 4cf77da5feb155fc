// Names of images in registries: the grammar of distribution/reference (v0.8), with the limits of distribution-spec 1.1.
import { clip } from "../clip.ts";
import { splitDigest } from "../digest.ts";
import { OciError } from "../errors.ts";

/** The name of an image, or of a repository, in a registry. */
export interface Reference {
  /** `HOST[:PORT]` in lowercase, IPv6 addresses in brackets; `docker.io` for Docker Hub. */
  readonly registry: string;
  /** `library/debian` */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

const MAX_NAME = 255;
// A name, a tag of 128 characters, a SHA-512 digest.
const MAX_TEXT = MAX_NAME + 1 + 128 + 1 + 135;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const TAG_SHAPE = "a tag of 1 to 128 characters A-Z a-z 0-9 _ . -, the first no . or -";
const componentPattern = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;
const labelPattern = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/;

/**
 * Reads `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`. Without a host it is Docker Hub, where a single component stands in `library/`.
 * No tag is added: `referenceTarget` says what is meant without one.
 * @throws OciError BAD_REFERENCE
 */
export function parseReference(text: string): Reference {
  const fail = (expected: string, found: string, hint?: string): never => {
    throw new OciError("BAD_REFERENCE", "not a reference to an image", {
      path: clip(text),
      expected,
      found: clip(JSON.stringify(found)),
      ...(hint === undefined ? {} : { hint }),
    });
  };
  if (text.length > MAX_TEXT) fail(`at most ${MAX_TEXT} characters`, `${text.slice(0, 20)}...`);
  if (/^[a-z-]+:\/\//.test(text)) fail("[HOST[:PORT]/]PATH[:TAG][@DIGEST]", text, "Leave the scheme out.");
  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && splitDigest(digest) === undefined) fail("@sha256: and 64, or @sha512: and 128, digits 0-9a-f", digest);
  const rest = at === -1 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(":");
  const tag = colon > rest.lastIndexOf("/") ? rest.slice(colon + 1) : undefined;
  if (tag !== undefined && !tagPattern.test(tag)) fail(TAG_SHAPE, tag);
  const [host, path] = splitHost(tag === undefined ? rest : rest.slice(0, colon));
  const registry = host === undefined ? "docker.io" : canonicalRegistry(host);
  if (registry === undefined) return fail("HOST[:PORT]", host ?? "");
  // In lowercase it would be the first part of a name on Docker Hub: nobody could tell which is meant.
  if (registry !== "localhost" && !/[.:]/.test(registry))
    return fail("a host with a dot or a port, or localhost", host ?? "", "Repositories are written in lowercase.");
  const repository = registry === "docker.io" && !path.includes("/") ? `library/${path}` : path;
  for (const component of path.split("/")) {
    const hint = /[A-Z]/.test(component) ? "Repositories are written in lowercase." : undefined;
    if (!componentPattern.test(component)) fail("components of a-z 0-9, with . _ __ - between, parted by /", component, hint);
  }
  if (`${registry}/${repository}`.length > MAX_NAME) fail(`a name of at most ${MAX_NAME} characters`, path);
  if (host === undefined && /^[0-9a-f]{64}$/.test(path)) fail("a name", path, "64 hexadecimal digits are an image's identity, not its name.");
  return { registry, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** The first component is a host when nothing else can look like it: with a dot, a colon or an uppercase letter, or `localhost`. */
function splitHost(name: string): readonly [host: string | undefined, path: string] {
  const slash = name.indexOf("/");
  const first = slash === -1 ? "" : name.slice(0, slash);
  const isHost = first === "localhost" || /[.:A-Z]/.test(first);
  return isHost ? [first, name.slice(slash + 1)] : [undefined, name];
}

/** A registry's `HOST[:PORT]` as it is compared and looked up, or undefined when it is none. */
export function canonicalRegistry(host: string): string | undefined {
  const parts = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+)(?::([0-9]{1,5}))?$/.exec(host);
  const [, name = "", port] = parts ?? [];
  if (parts === null || (port !== undefined && (Number(port) < 1 || Number(port) > 65535))) return undefined;
  const literal = name.startsWith("[");
  if (literal ? !URL.canParse(`http://${name}/`) : !name.split(".").every((label) => label.length <= 63 && labelPattern.test(label))) return undefined;
  const canonical = `${literal ? new URL(`http://${name}/`).hostname : name.toLowerCase()}${port === undefined ? "" : `:${Number(port)}`}`;
  return canonical === "index.docker.io" || canonical === "registry-1.docker.io" ? "docker.io" : canonical;
}

/** A tag as registries have them. @throws OciError BAD_TAG */
export function checkTag(tag: string): string {
  if (tagPattern.test(tag)) return tag;
  throw new OciError("BAD_TAG", "not a tag of a registry", { expected: TAG_SHAPE, found: clip(JSON.stringify(tag)) });
}

/** The digest of a reference, else its tag, else `latest`. */
export function referenceTarget(reference: Pick<Reference, "tag" | "digest">): string {
  return reference.digest ?? reference.tag ?? "latest";
}

/** The whole reference, with its registry. */
export function formatReference(reference: Reference): string {
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
