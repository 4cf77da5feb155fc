// Who gets to see a password or a token, and who does not.
import { describe, expect, test, vi } from "vitest";
import { long } from "../../../../test/oracle.ts";
import { type Credentials, createRegistryClient, MEDIA_MANIFEST, type RegistryOptions, type Repository } from "../../src/index.ts";
import { type Scripted, type ScriptedNetwork, type Sent, STALL, scripted } from "./scripted.ts";

const manifest = `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:${"a".repeat(64)}","size":2},"layers":[]}`;
const served: Scripted = { status: 200, headers: { "content-type": MEDIA_MANIFEST }, body: manifest };
const alice: Credentials = { username: "alice", password: "päss:word" };
const BASIC = `Basic ${Buffer.from("alice:päss:word").toString("base64")}`;
const bearer = (realm: string, more: string = ""): Scripted => ({ status: 401, headers: { "www-authenticate": `Bearer realm="${realm}",service="s"${more}` } });

/** `nobody` stands for no credentials. */
const nobody: Credentials = {};

function repository(
  network: ScriptedNetwork,
  credentials: Credentials = alice,
  name: string = "r.example/a",
  options: Partial<RegistryOptions> = {},
): Repository {
  return createRegistryClient({
    network: network.network,
    credentials: async () => (credentials === nobody ? undefined : credentials),
    patience: { stallTimeout: STALL },
    ...options,
  }).repository(name);
}

const authorization = ({ headers }: Sent): string | undefined => headers.authorization;
const host = ({ url }: Sent): string => new URL(url).host;

describe("Basic", () => {
  const asks = ({ headers }: Sent): Scripted =>
    headers.authorization === BASIC ? served : { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } };

  test("is sent when it is asked for, and from then on at once", async () => {
    const network = scripted(asks);
    const one = repository(network);
    await one.manifest("t");
    await one.manifest("u");
    expect(network.sent.map(authorization)).toEqual([undefined, BASIC, BASIC]);
  });

  test("that is refused is sent once", async () => {
    const network = scripted(() => ({ status: 401, headers: { "www-authenticate": 'Basic realm="x"' } }));
    await expect(repository(network).manifest("t")).rejects.toMatchObject({ code: "REGISTRY_AUTH" });
    expect(network.sent.map(authorization)).toEqual([undefined, BASIC]);
  });

  test("is not sent by nobody", async () => {
    const network = scripted(asks);
    await expect(repository(network, nobody).manifest("t")).rejects.toMatchObject({ code: "REGISTRY_AUTH" });
    expect(network.sent).toHaveLength(1);
  });
});

describe("Bearer", () => {
  const server = (token: (sent: Sent) => Scripted): ScriptedNetwork =>
    scripted((sent) => {
      if (host(sent) === "auth.example") return token(sent);
      return sent.headers.authorization?.startsWith("Bearer ") === true ? served : bearer("https://auth.example/token?x=1");
    });
  const given = (fields: object): Scripted => ({ status: 200, body: JSON.stringify(fields) });

  test("the token server gets the password, the service and the scope; the registry gets the token only", async () => {
    const network = server(() => given({ token: "TOKEN" }));
    await repository(network).manifest("t");
    expect(network.sent.map(authorization)).toEqual([undefined, BASIC, "Bearer TOKEN"]);
    expect(network.sent[1]?.url).toBe("https://auth.example/token?x=1&service=s&scope=repository%3Aa%3Apull&account=alice");
  });

  test("without credentials the token is asked for without any", async () => {
    const network = server(() => given({ access_token: "TOKEN" }));
    await repository(network, nobody).manifest("t");
    expect(network.sent.map(authorization)).toEqual([undefined, undefined, "Bearer TOKEN"]);
  });

  test("a token is used again until it expires, 60 seconds where nothing is said", async () => {
    const network = server(() => given({ token: `T${network.sent.length}` }));
    const one = repository(network);
    for (const tag of ["a", "b"]) await one.manifest(tag);
    network.now += 54_000;
    await one.manifest("c");
    network.now += 2_000;
    await one.manifest("d");
    expect(network.sent.map(host)).toEqual(["r.example", "auth.example", "r.example", "r.example", "r.example", "auth.example", "r.example"]);
  });

  test("expires_in is kept to, and a token of another scope is another", async () => {
    const network = server(() => given({ token: "T", expires_in: 3600 }));
    const one = repository(network);
    await one.manifest("a");
    network.now += 3_000_000;
    await one.manifest("b");
    await one.deleteManifest("a").catch(() => undefined);
    const scopes = network.sent.filter((sent) => host(sent) === "auth.example").map(({ url }) => new URL(url).searchParams.getAll("scope"));
    expect(scopes).toEqual([["repository:a:pull"], ["repository:a:delete,pull"]]);
  });

  test("requests at once ask for one token", async () => {
    const network = server(() => given({ token: "T" }));
    const one = repository(network);
    await one.manifest("a");
    network.now += 1_000_000;
    await Promise.all(["b", "c", "d"].map((tag) => one.manifest(tag)));
    expect(network.sent.filter((sent) => host(sent) === "auth.example")).toHaveLength(2);
  });

  test("an identity token goes by POST, in the form, and takes the password's place", async () => {
    const bodies: string[] = [];
    const network = server(() => given({ access_token: "T" }));
    const { fetch } = network.network;
    const watched = {
      ...network.network,
      fetch: ((url, init) => {
        if (init.body instanceof Uint8Array) bodies.push(new TextDecoder().decode(init.body));
        return fetch(url, init);
      }) as typeof fetch,
    };
    await repository({ ...network, network: watched }, { username: "u", identityToken: "REFRESH" }).manifest("t");
    expect(network.sent[1]).toMatchObject({ method: "POST", url: "https://auth.example/token?x=1" });
    expect(bodies).toEqual(["grant_type=refresh_token&refresh_token=REFRESH&client_id=imgkit&scope=repository%3Aa%3Apull&service=s"]);
    expect(network.sent.map(authorization)).toEqual([undefined, undefined, "Bearer T"]);
  });

  test("a registry token is sent as it is, and nobody is asked", async () => {
    const network = server(() => given({}));
    await repository(network, { registryToken: "MINE" }).manifest("t");
    expect(network.sent.map(authorization)).toEqual(["Bearer MINE"]);
  });

  test("a stale token is replaced once, with what more the registry asks for", async () => {
    const network = scripted((sent) => {
      if (host(sent) === "auth.example") return given({ token: `T${network.sent.length}` });
      if (sent.headers.authorization === "Bearer T4") return served;
      return bearer("https://auth.example/token", ',error="insufficient_scope",scope="repository:a:pull repository:b:pull"');
    });
    await repository(network).manifest("t");
    expect(new URL(network.sent[3]?.url ?? "").searchParams.getAll("scope")).toEqual(["repository:a:pull", "repository:b:pull"]);
  });

  test("a registry that says 401 for ever is asked three times", async () => {
    const network = scripted((sent) => (host(sent) === "auth.example" ? given({ token: "T" }) : bearer("https://auth.example/token")));
    await expect(repository(network).manifest("t")).rejects.toMatchObject({ code: "REGISTRY_AUTH" });
    expect(network.sent.filter((sent) => host(sent) === "r.example")).toHaveLength(3);
  });

  test("a token server that says 401 is not asked again", async () => {
    const network = server(() => bearer("https://auth.example/token"));
    await expect(repository(network).manifest("t")).rejects.toMatchObject({ code: "REGISTRY_AUTH" });
    expect(network.sent).toHaveLength(2);
  });

  test.each<[what: string, answer: Scripted, code: string]>([
    ["no JSON", { status: 200, body: "<html>" }, "JSON_SYNTAX"],
    ["no token", given({ token: "" }), "REGISTRY_PROTOCOL"],
    ["a token with a line break", given({ token: "a\r\nx-evil: 1" }), "REGISTRY_PROTOCOL"],
    ["a list", { status: 200, body: "[]" }, "REGISTRY_PROTOCOL"],
    ["two megabytes", { status: 200, body: " ".repeat(2 << 20) }, "REGISTRY_PROTOCOL"],
    ["a token that stands twice", { status: 200, body: '{"token":"a","token":"b"}' }, "JSON_DUPLICATE_KEY"],
  ])("a token server's answer of %s is refused", async (_, answer, code) => {
    await expect(repository(server(() => answer)).manifest("t")).rejects.toMatchObject({ code });
  });

  test.each([
    ["over plain HTTP", "http://auth.example/token"],
    ["inside a network", "https://169.254.169.254/latest"],
    ["inside a network, in IPv6", "https://[fd00::1]/"],
    ["inside a network, IPv4 as IPv6", "https://[::ffff:10.0.0.1]/"],
    ["inside a network, IPv4 behind NAT64", "https://[64:ff9b::a9fe:a9fe]/"],
    ["inside a network, as one number", "https://167772161/"],
    ["on this machine", "https://localhost:8080/"],
    ["on this machine, with a dot", "https://localhost./"],
    ["with a user of its own", "https://u:p@auth.example/"],
    ["of another scheme", "ftp://auth.example/"],
    ["that is none", "//"],
  ])("SSRF: a realm %s is refused, and asked for nothing", async (_, realm) => {
    const network = scripted(() => bearer(realm));
    await expect(repository(network).manifest("t")).rejects.toMatchObject({ code: expect.stringMatching(/REGISTRY_INSECURE|REGISTRY_PROTOCOL/) });
    expect(network.sent).toHaveLength(1);
  });

  test("a mount asks for the rights in both repositories", async () => {
    const digest = `sha256:${"b".repeat(64)}`;
    const network = scripted((sent) => {
      if (host(sent) === "auth.example") return given({ token: "T" });
      if (authorization(sent) === undefined) return bearer("https://auth.example/token");
      return { status: 201, headers: { location: "/x" } };
    });
    const client = createRegistryClient({ network: network.network, credentials: async () => alice, patience: { stallTimeout: STALL } });
    expect(await client.repository("r.example/to").putBlob({ digest, size: 1 }, client.repository("r.example/from"))).toBe("mounted");
    expect(new URL(network.sent[1]?.url ?? "").searchParams.getAll("scope")).toEqual(["repository:from:pull", "repository:to:pull,push"]);
    expect(network.sent[2]?.url).toBe(`https://r.example/v2/to/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=from`);
  });
});

test("where a mount is refused, the blob is sent", async () => {
  const empty = `sha256:${"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`;
  const network = scripted(({ method, url }) => {
    if (url.includes("mount=")) return { status: 403 };
    if (method === "POST") return { status: 202, headers: { location: "/u" } };
    return method === "PUT" ? { status: 201 } : { status: 200, headers: { "content-length": "0" } };
  });
  const client = createRegistryClient({ network: network.network, patience: { stallTimeout: STALL } });
  expect(await client.repository("r.example/to").putBlob({ digest: empty, size: 0 }, client.repository("r.example/from"))).toBe("copied");
  expect(network.sent.map(({ method }) => method)).toEqual(["POST", "GET", "POST", "PUT"]);
});

describe("redirects", () => {
  const digest = `sha256:${"c".repeat(64)}`;
  const redirecting = (location: string, status: number = 307): ScriptedNetwork =>
    scripted((sent) => {
      if (authorization(sent) === undefined && host(sent) === "r.example") return { status: 401, headers: { "www-authenticate": "Basic" } };
      return host(sent) === "r.example" && !sent.url.endsWith("/here")
        ? { status, headers: { location } }
        : { status: 200, headers: { "content-length": "1" }, body: "x" };
    });

  test.each([301, 302, 303, 307, 308])("token leak: %s to another host goes there without any authorisation", async (status) => {
    const network = redirecting("https://cdn.example/blob?signature=1", status);
    (await repository(network).blobs.open(digest)).close();
    expect(network.sent.map((sent) => [host(sent), authorization(sent)])).toEqual([
      ["r.example", undefined],
      ["r.example", BASIC],
      ["cdn.example", undefined],
    ]);
  });

  test.each(["https://r.example:8443/here", "https://r.example.evil.example/here", "https://sub.r.example/here"])(
    "token leak: %s is another host",
    async (location) => {
      const network = redirecting(location);
      (await repository(network).blobs.open(digest)).close();
      expect(network.sent.at(-1)?.url).toBe(location);
      expect(network.sent.map(authorization)).toEqual([undefined, BASIC, undefined]);
    },
  );

  test("to the same host goes there with it", async () => {
    const network = redirecting("/here");
    (await repository(network).blobs.open(digest)).close();
    expect(network.sent.map(authorization)).toEqual([undefined, BASIC, BASIC]);
  });

  test("a challenge of another host is not answered", async () => {
    const network = scripted((sent) => {
      if (host(sent) === "evil.example") return { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } };
      return { status: 302, headers: { location: "https://evil.example/" } };
    });
    await expect(repository(network).blobs.open(digest)).rejects.toMatchObject({ code: "REGISTRY_AUTH" });
    expect(network.sent.map(authorization)).toEqual([undefined, undefined]);
  });

  test.each([
    ["plain HTTP", "http://r.example/blob"],
    ["an address inside a network", "https://10.0.0.1/"],
    ["the metadata of a cloud", "https://169.254.169.254/latest/meta-data"],
    ["this machine", "https://127.0.0.1/"],
    ["a file", "file:///etc/passwd"],
    ["data", "data:text/plain,x"],
  ])("SSRF: to %s are refused", async (_, location) => {
    await expect(repository(redirecting(location)).blobs.open(digest)).rejects.toMatchObject({ code: "REGISTRY_INSECURE" });
  });

  test("in a circle end", async () => {
    const network = scripted(() => ({ status: 302, headers: { location: "/again" } }));
    await expect(repository(network).blobs.open(digest)).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL", facts: { expected: "at most 5 redirects" } });
    expect(network.sent).toHaveLength(6);
  });

  test("of a push are refused: its body would go to another host", async () => {
    const network = scripted(() => ({ status: 307, headers: { location: "https://evil.example/" } }));
    await expect(repository(network).blobs.put([new Uint8Array(1)])).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL" });
    expect(network.sent.map(host)).toEqual(["r.example"]);
  });
});

describe("places that a registry names", () => {
  const uploading = (location: string): ScriptedNetwork =>
    scripted((sent) => {
      if (host(sent) === "r.example" && authorization(sent) === undefined) return { status: 401, headers: { "www-authenticate": "Basic" } };
      return sent.method === "POST" ? { status: 202, headers: { location } } : { status: 201 };
    });

  test("an upload to another host goes there without any authorisation", async () => {
    const network = uploading("https://storage.example/u?state=1");
    await repository(network).blobs.put([new Uint8Array(1)]);
    const put = network.sent.at(-1);
    expect([put?.method, put && host(put), put && authorization(put)]).toEqual(["PUT", "storage.example", undefined]);
    expect(put?.url).toMatch(/^https:\/\/storage\.example\/u\?state=1&digest=sha256%3A/);
  });

  test.each(["http://r.example/u", "https://192.168.1.1/u", "https://[::1]/u"])("SSRF: an upload to %s is refused", async (location) => {
    const network = uploading(location);
    await expect(repository(network).blobs.put([new Uint8Array(1)])).rejects.toMatchObject({ code: "REGISTRY_INSECURE" });
    expect(network.sent.map(host)).toEqual(["r.example", "r.example"]);
  });

  test("the next page on another host is asked for without any authorisation, inside a network not at all", async () => {
    const page = (link: string): ScriptedNetwork =>
      scripted((sent) => {
        if (host(sent) === "r.example" && authorization(sent) === undefined) return { status: 401, headers: { "www-authenticate": "Basic" } };
        return { status: 200, headers: host(sent) === "r.example" ? { link: `<${link}>; rel=next` } : {}, body: '{"tags":["x"]}' };
      });
    const tags = async (network: ScriptedNetwork): Promise<string[]> => {
      const found: string[] = [];
      for await (const tag of repository(network).tags()) found.push(tag);
      return found;
    };
    const outside = page("https://other.example/v2/a/tags/list");
    expect(await tags(outside)).toEqual(["x", "x"]);
    expect(outside.sent.map(authorization)).toEqual([undefined, BASIC, undefined]);
    await expect(tags(page("https://10.1.2.3/"))).rejects.toMatchObject({ code: "REGISTRY_INSECURE" });
  });

  long()("a list that goes on and on ends", async () => {
    let page = 0;
    const network = scripted(() => ({ status: 200, headers: { link: `</v2/a/tags/list?n=${page++}>; rel="next"` }, body: "{}" }));
    await expect(repository(network).tags().next()).rejects.toMatchObject({ code: "REGISTRY_PROTOCOL", facts: { expected: "at most 10000 pages, each once" } });
  });
});

describe("plain HTTP", () => {
  const plainOnly = (): ScriptedNetwork =>
    scripted(({ url }) => {
      if (url.startsWith("https:"))
        throw new TypeError("fetch failed", { cause: Object.assign(new Error("wrong version"), { code: "ERR_SSL_WRONG_VERSION_NUMBER" }) });
      return served;
    });

  test.each(["localhost:5000", "127.0.0.1:5000", "[::1]:5000"])("%s is this machine: HTTPS is tried first", async (registry) => {
    const network = plainOnly();
    await repository(network, alice, `${registry}/a`).manifest("t");
    expect(network.sent.map(({ url }) => url)).toEqual([`https://${registry}/v2/`, `http://${registry}/v2/a/manifests/t`]);
  });

  test("another host is not spoken to in the clear, unless that is asked for", async () => {
    const network = plainOnly();
    await expect(repository(network, alice, "r.example/a", { patience: { attempts: 1, stallTimeout: STALL } }).manifest("t")).rejects.toMatchObject({
      code: "NETWORK_FAILED",
    });
    expect(network.sent.every(({ url }) => url.startsWith("https:"))).toBe(true);
    const asked = plainOnly();
    await repository(asked, alice, "r.example/a", { plainHttp: ["R.example"] }).manifest("t");
    expect(asked.sent.map(({ url }) => url)).toEqual(["http://r.example/v2/a/manifests/t"]);
  });

  test("a certificate that is not trusted does not lead to plain HTTP, nor to another attempt", async () => {
    const network = scripted(() => {
      throw new TypeError("fetch failed", { cause: Object.assign(new Error("self-signed"), { code: "SELF_SIGNED_CERT_IN_CHAIN" }) });
    });
    const failed = repository(network, alice, "localhost:5000/a").manifest("t");
    await expect(failed).rejects.toMatchObject({ code: "NETWORK_FAILED", facts: { hint: expect.stringContaining("NODE_EXTRA_CA_CERTS") } });
    expect(network.sent).toHaveLength(1);
  });
});

test("no error shows a password or a token", async () => {
  const secrets = ["päss:word", BASIC.slice(6), "TOKEN", "signature"];
  const scripts: ((sent: Sent) => Scripted)[] = [
    () => ({ status: 401, headers: { "www-authenticate": 'Basic realm="x"' } }),
    (sent) => (host(sent) === "auth.example" ? { status: 500 } : bearer("https://auth.example/")),
    (sent) => (host(sent) === "auth.example" ? { status: 200, body: '{"token":"TOKEN TOKEN"}' } : bearer("https://auth.example/")),
    (sent) => (host(sent) === "cdn.example" ? { status: 403 } : { status: 302, headers: { location: "https://cdn.example/x?signature=1" } }),
  ];
  for (const script of scripts) {
    const error = await repository(scripted(script), alice, "r.example/a", { patience: { attempts: 1, stallTimeout: STALL } })
      .manifest("t")
      .catch((caught: Error) => caught);
    expect(error).toBeInstanceOf(Error);
    for (const secret of secrets) expect(String(error)).not.toContain(secret);
  }
});

describe("waiting", () => {
  const busy = (header: string, status: number = 429): ScriptedNetwork => {
    let asked = 0;
    return scripted(() => (asked++ === 0 ? { status, headers: { "retry-after": header } } : served));
  };

  test.each([
    ["7", 7000],
    ["Tue, 14 Nov 2023 22:13:50 GMT", 30_000],
    ["Mon, 14 Nov 2022 22:13:20 GMT", 500],
    ["soon", 500],
    ["0", 500],
  ])("Retry-After: %s", async (header, expected) => {
    const network = busy(header);
    await repository(network).manifest("t");
    expect(network.waits).toEqual([expected]);
  });

  test("a registry that asks for more patience than there is, is told so at once", async () => {
    const network = busy("3600");
    await expect(repository(network).manifest("t")).rejects.toMatchObject({ code: "REGISTRY_BUSY" });
    expect(network.waits).toEqual([]);
  });

  test("each wait is twice the one before, up to the longest", async () => {
    const network = scripted(() => ({ status: 500 }));
    const patience = { attempts: 9, maxDelay: 10_000, stallTimeout: STALL };
    await expect(repository(network, alice, "r.example/a", { patience }).manifest("t")).rejects.toMatchObject({ code: "REGISTRY_FAILED" });
    expect(network.waits).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
  });

  test("no more requests at once than allowed", async () => {
    let running = 0;
    let most = 0;
    const network = scripted(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
      return served;
    });
    const one = repository(network, nobody, "r.example/a", { parallel: 3 });
    await Promise.all(Array.from({ length: 12 }, (_, i) => one.manifest(`t${i}`)));
    expect(most).toBe(3);
    expect(() => repository(network, nobody, "r.example/a", { parallel: 0 })).toThrow(RangeError);
  });
});

describe("stalls", () => {
  const digest = `sha256:${"c".repeat(64)}`;
  const endless = (send: (controller: ReadableStreamDefaultController<Uint8Array>) => void): ScriptedNetwork =>
    scripted(() => ({ status: 200, headers: { "content-length": "10" }, body: new ReadableStream({ pull: send }, { highWaterMark: 0 }) }));

  test("a reader that takes its time is no stall of the registry's", async () => {
    const network = endless((controller) => controller.enqueue(Uint8Array.of(1)));
    const blob = await repository(network).blobs.open(digest);
    for (let at = 0; at < 9; at++) {
      await blob.read(at, at + 1);
      await network.stall();
    }
    blob.close();
    expect(network.sent).toHaveLength(1);
  });

  test("a registry that sends nothing more is one", async () => {
    const network = endless(() => new Promise(() => undefined));
    const blob = await repository(network, alice, "r.example/a", { patience: { attempts: 1, stallTimeout: STALL } }).blobs.open(digest);
    const read = expect(blob.read(0, 1)).rejects.toMatchObject({ code: "NETWORK_TIMEOUT" });
    for (let i = 0; i < 3; i++) await network.stall();
    await read;
  });

  test("a source that takes its time to be read is no stall of the registry's", async () => {
    const network = scripted(({ method }) => (method === "POST" ? { status: 202, headers: { location: "/u" } } : { status: 201 }));
    const { fetch } = network.network;
    // A registry that takes a body to its end.
    network.network.fetch = async (url, init) => {
      if (init.body instanceof ReadableStream) for (const reader = init.body.getReader(); !(await reader.read()).done; );
      return init.method === "PATCH" ? { status: 202, headers: new Headers(), body: null } : fetch(url, init);
    };
    const size = 2 << 20;
    const read = async (start: number, end: number): Promise<Uint8Array> => {
      for (let i = 0; i < 3; i++) await network.stall();
      return new Uint8Array(end - start);
    };
    const blobs = { has: async () => true, open: async () => ({ size, read, close() {} }) };
    const { createHash } = await import("node:crypto");
    const blob = { digest: `sha256:${createHash("sha256").update(new Uint8Array(size)).digest("hex")}`, size };
    const put = repository(network, nobody, "r.example/a", { patience: { attempts: 1, stallTimeout: STALL } }).putBlob(blob, {
      blobs,
      resolve: () => Promise.reject(new Error("no")),
    });
    expect(await put).toBe("copied");
  });
});

test("a caller's signal ends all that runs, and has one listener for all of it", async () => {
  const network = scripted(() => new Promise(() => undefined));
  const controller = new AbortController();
  const listeners = vi.spyOn(controller.signal, "addEventListener");
  const one = repository(network, nobody, "r.example/a", { signal: controller.signal, parallel: 20 });
  const all = Promise.allSettled(Array.from({ length: 20 }, (_, i) => one.manifest(`t${i}`)));
  await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort(new Error("enough"));
  expect((await all).map((result) => result.status === "rejected" && result.reason.message)).toEqual(Array(20).fill("enough"));
  expect(listeners).toHaveBeenCalledTimes(1);
});

describe("mirrors", () => {
  const mirrors = { "docker.io": [{ location: "mirror.example/cache" }, { location: "digests.example", digestOnly: true }] };
  const digest = `sha256:${"d".repeat(64)}`;

  test("are asked first, in order, with their own credentials", async () => {
    const network = scripted((sent) => {
      if (host(sent) !== "mirror.example") return served;
      return authorization(sent) === undefined ? { status: 401, headers: { "www-authenticate": "Basic" } } : { status: 404 };
    });
    const credentials = async (registry: string): Promise<Credentials> => ({ username: registry, password: "x" });
    await createRegistryClient({ network: network.network, credentials, mirrors, patience: { stallTimeout: STALL } })
      .repository("debian")
      .manifest("t");
    expect(network.sent.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ["https://mirror.example/v2/cache/library/debian/manifests/t", undefined],
      ["https://mirror.example/v2/cache/library/debian/manifests/t", `Basic ${btoa("mirror.example:x")}`],
      ["https://registry-1.docker.io/v2/library/debian/manifests/t", undefined],
    ]);
  });

  test("one that is down or lies is passed over; by digest all are asked", async () => {
    const bytes = new TextEncoder().encode(manifest);
    const { createHash } = await import("node:crypto");
    const right = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const network = scripted((sent) => {
      if (host(sent) === "mirror.example") throw new TypeError("down");
      return host(sent) === "digests.example" ? { ...served, body: "{}" } : served;
    });
    const one = repository(network, nobody, "debian", { mirrors });
    expect((await one.manifest(right)).descriptor.digest).toBe(right);
    expect(network.sent.map(host)).toEqual(["mirror.example", "digests.example", "registry-1.docker.io"]);
    await expect(one.manifest(digest)).rejects.toMatchObject({ code: "BLOB_MISMATCH" });
    expect(network.sent.slice(3).map(host)).toEqual(["digests.example", "registry-1.docker.io"]);
  });

  test("pushes and deletions go to the registry itself", async () => {
    const network = scripted(() => ({ status: 202 }));
    await repository(network, nobody, "debian", { mirrors }).deleteManifest(digest);
    expect(network.sent.map(host)).toEqual(["registry-1.docker.io"]);
  });
});
