// A registry in this process: distribution-spec 1.1 in full where it behaves, and a place to misbehave at every request.
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll } from "vitest";

/** A request as it came. */
export interface Seen {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  /** Counted from 0. */
  readonly number: number;
}

/** Where a connection is cut: before the request is looked at, after some bytes of a body have gone either way, or instead of the answer. */
export type Cut = "before" | "middle" | "after";

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

interface StoredManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export class TestRegistry {
  /** Everything that was asked, in order. */
  readonly seen: Seen[] = [];
  readonly blobs: Map<string, Buffer> = new Map<string, Buffer>();
  readonly manifests: Map<string, StoredManifest> = new Map<string, StoredManifest>();
  /** By `REPOSITORY:TAG`. */
  readonly tags: Map<string, string> = new Map<string, string>();
  /** By `REPOSITORY DIGEST`: which blobs a repository has. */
  readonly links: Set<string> = new Set<string>();
  /** Answers instead of the registry, or says nothing. */
  fault: (seen: Seen, response: ServerResponse) => Answer | "done" | undefined = () => undefined;
  cut: (seen: Seen) => Cut | undefined = () => undefined;
  pageSize = 100;
  hasReferrers = true;
  /** Answers ranges with the whole. */
  hasRanges = true;
  readonly #uploads = new Map<string, Buffer>();
  #server: Server | undefined;
  #host = "";

  get host(): string {
    return this.#host;
  }

  get origin(): string {
    return `http://${this.#host}`;
  }

  async start(): Promise<this> {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, "127.0.0.1", resolve));
    this.#host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    afterAll(() => this.stop());
    return this;
  }

  stop(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  /** Puts bytes into a repository. */
  addBlob(repository: string, bytes: Uint8Array): string {
    const digest = digestOf(bytes);
    this.blobs.set(digest, Buffer.from(bytes));
    this.links.add(`${repository} ${digest}`);
    return digest;
  }

  addManifest(repository: string, mediaType: string, bytes: Uint8Array, tag?: string): string {
    const digest = digestOf(bytes);
    this.manifests.set(`${repository} ${digest}`, { bytes: Buffer.from(bytes), mediaType });
    if (tag !== undefined) this.tags.set(`${repository}:${tag}`, digest);
    return digest;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", this.origin);
    const seen: Seen = { method: request.method ?? "", path: url.pathname, query: url.searchParams, headers: request.headers, number: this.seen.length };
    this.seen.push(seen);
    const cut = this.cut(seen);
    if (cut === "before") return void request.socket.destroy();
    const fault = this.fault(seen, response);
    if (fault === "done") return;
    if (fault !== undefined) {
      request.resume();
      return send(response, fault, seen.method === "HEAD");
    }
    const body = await readBody(request, cut === "middle" && seen.method !== "GET");
    const answer = this.#answer(seen, body.bytes);
    if (cut === "after" || (cut === "middle" && seen.method !== "GET")) return void request.socket.destroy();
    send(response, answer, seen.method === "HEAD", cut === "middle");
  }

  #answer(seen: Seen, body: Buffer): Answer {
    if (seen.path === "/v2/") return { status: 200, body: "{}" };
    if (seen.path === "/v2/_catalog")
      return this.#page(seen, "repositories", [...new Set([...this.manifests.keys()].map((key) => key.split(" ")[0] ?? ""))].sort());
    const [, repository = "", kind = "", name = ""] = /^\/v2\/(.+?)\/(manifests|blobs|tags|referrers)\/(.*)$/.exec(seen.path) ?? [];
    if (kind === "tags") {
      const tags = [...this.tags.keys()].filter((key) => key.startsWith(`${repository}:`)).map((key) => key.slice(repository.length + 1));
      return this.#page(seen, "tags", tags.sort());
    }
    if (kind === "manifests") return this.#manifest(seen, repository, name, body);
    if (kind === "referrers") return this.#referrers(seen, repository, name);
    if (name.startsWith("uploads/")) return this.#upload(seen, repository, name.slice(8), body);
    return kind === "blobs" ? this.#blob(seen, repository, name) : { status: 404 };
  }

  #page(seen: Seen, key: string, all: readonly string[]): Answer {
    const last = seen.query.get("last");
    const rest = last === null ? all : all.filter((one) => one > last);
    const page = rest.slice(0, this.pageSize);
    const headers = rest.length > page.length ? { link: `<${seen.path}?last=${encodeURIComponent(page.at(-1) ?? "")}>; rel="next"` } : undefined;
    return { status: 200, body: JSON.stringify({ [key]: page }), ...(headers === undefined ? {} : { headers }) };
  }

  #manifest(seen: Seen, repository: string, name: string, body: Buffer): Answer {
    if (seen.method === "PUT") return this.#putManifest(seen, repository, name, body);
    const digest = name.startsWith("sha256:") ? name : this.tags.get(`${repository}:${name}`);
    const found = this.manifests.get(`${repository} ${digest}`);
    if (digest === undefined || found === undefined) return refusal(404, "MANIFEST_UNKNOWN");
    if (seen.method === "DELETE") {
      if (digest === name) this.manifests.delete(`${repository} ${digest}`);
      for (const [tag, of] of this.tags) if (tag === `${repository}:${name}` || (digest === name && of === digest)) this.tags.delete(tag);
      return { status: 202 };
    }
    return { status: 200, headers: { "content-type": found.mediaType, "docker-content-digest": digest }, body: found.bytes };
  }

  #putManifest(seen: Seen, repository: string, name: string, body: Buffer): Answer {
    const digest = digestOf(body);
    if (name.startsWith("sha256:") && name !== digest) return refusal(400, "DIGEST_INVALID");
    const { config, layers = [], manifests = [], subject } = JSON.parse(body.toString());
    const blobs = [...(config === undefined ? [] : [config]), ...layers].filter((one: { digest: string }) => !this.links.has(`${repository} ${one.digest}`));
    const children = manifests.filter((one: { digest: string }) => !this.manifests.has(`${repository} ${one.digest}`));
    // The fallback's list names what is there; so does every index.
    if (blobs.length + children.length > 0) return refusal(400, "MANIFEST_BLOB_UNKNOWN");
    this.addManifest(repository, seen.headers["content-type"] ?? "", body, name === digest ? undefined : name);
    const listed = subject !== undefined && this.hasReferrers ? { "oci-subject": subject.digest } : {};
    return { status: 201, headers: { "docker-content-digest": digest, location: `/v2/${repository}/manifests/${digest}`, ...listed } };
  }

  #referrers(seen: Seen, repository: string, digest: string): Answer {
    if (!this.hasReferrers) return { status: 404, body: "404 page not found" };
    const type = seen.query.get("artifactType");
    const all = [...this.manifests].flatMap(([key, { bytes, mediaType }]) => {
      const { subject, artifactType, config, annotations } = JSON.parse(bytes.toString());
      const own = artifactType ?? config?.mediaType;
      if (!key.startsWith(`${repository} `) || subject?.digest !== digest || (type !== null && own !== type)) return [];
      return [{ mediaType, digest: digestOf(bytes), size: bytes.length, artifactType: own, annotations }];
    });
    const from = Number(seen.query.get("from") ?? 0);
    const next = from + this.pageSize;
    const headers: Record<string, string> = { "content-type": "application/vnd.oci.image.index.v1+json" };
    if (type !== null) headers["oci-filters-applied"] = "artifactType";
    if (next < all.length) headers.link = `<${seen.path}?${type === null ? "" : `artifactType=${encodeURIComponent(type)}&`}from=${next}>; rel="next"`;
    const body = JSON.stringify({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: all.slice(from, next) });
    return { status: 200, headers, body };
  }

  #blob(seen: Seen, repository: string, digest: string): Answer {
    const bytes = this.blobs.get(digest);
    if (bytes === undefined || !this.links.has(`${repository} ${digest}`)) return refusal(404, "BLOB_UNKNOWN");
    if (seen.method === "DELETE") {
      this.links.delete(`${repository} ${digest}`);
      return { status: 202 };
    }
    const from = Number(/^bytes=(\d+)-$/.exec(seen.headers.range ?? "")?.[1] ?? -1);
    if (from < 0 || !this.hasRanges) return { status: 200, body: bytes };
    if (from >= bytes.length) return { status: 416 };
    return { status: 206, headers: { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }, body: bytes.subarray(from) };
  }

  #upload(seen: Seen, repository: string, id: string, body: Buffer): Answer {
    if (seen.method === "POST") {
      const mount = seen.query.get("mount");
      if (mount !== null && this.links.has(`${seen.query.get("from")} ${mount}`)) {
        this.links.add(`${repository} ${mount}`);
        return { status: 201, headers: { location: `/v2/${repository}/blobs/${mount}`, "docker-content-digest": mount } };
      }
      const fresh = randomUUID();
      this.#uploads.set(fresh, Buffer.alloc(0));
      return { status: 202, headers: { location: `/v2/${repository}/blobs/uploads/${fresh}?state=0`, range: "0-0" } };
    }
    const held = this.#uploads.get(id);
    if (held === undefined) return refusal(404, "BLOB_UPLOAD_UNKNOWN");
    const range = seen.headers["content-range"];
    if (range !== undefined && Number(range.split("-")[0]) !== held.length) return refusal(416, "BLOB_UPLOAD_INVALID");
    if (seen.method === "DELETE") {
      this.#uploads.delete(id);
      return { status: 204 };
    }
    const all = seen.method === "GET" ? held : Buffer.concat([held, body]);
    this.#uploads.set(id, all);
    const headers = { location: `/v2/${repository}/blobs/uploads/${id}?state=${all.length}`, range: `0-${Math.max(0, all.length - 1)}` };
    if (seen.method === "GET") return { status: 204, headers };
    if (seen.method === "PATCH") return { status: 202, headers };
    const digest = seen.query.get("digest") ?? "";
    this.#uploads.delete(id);
    if (digestOf(all) !== digest) return refusal(400, "DIGEST_INVALID");
    this.addBlob(repository, all);
    return { status: 201, headers: { location: `/v2/${repository}/blobs/${digest}`, "docker-content-digest": digest } };
  }
}

function refusal(status: number, code: string): Answer {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify({ errors: [{ code, message: "as it is" }] }) };
}

/** A request's body, or about half of it. */
async function readBody(request: IncomingMessage, half: boolean): Promise<{ readonly bytes: Buffer }> {
  const chunks: Buffer[] = [];
  const wanted = half ? Number(request.headers["content-length"] ?? 0) / 2 : Number.POSITIVE_INFINITY;
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    const part = chunk.subarray(0, Math.floor(wanted - size));
    chunks.push(half ? part : chunk);
    size += chunk.length;
    if (size >= wanted) break;
  }
  return { bytes: Buffer.concat(chunks) };
}

function send(response: ServerResponse, answer: Answer, head: boolean, half: boolean = false): void {
  const body = Buffer.from(answer.body ?? "");
  response.writeHead(answer.status, { "content-length": String(body.length), ...answer.headers });
  if (head) return void response.end();
  if (!half) return void response.end(body);
  response.write(body.subarray(0, body.length / 2), () => setTimeout(() => response.destroy(), 5));
}
