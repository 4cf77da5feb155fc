// What only Node has: files and helpers of credentials, proxies, certificates.
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { posix } from "../../../../test/oracle.ts";
import { nodeCredentials, nodeNetwork, readCertificates } from "../../src/index.node.ts";
import { createRegistryClient } from "../../src/index.ts";
import type { FetchInit, FetchResponse, Network } from "../../src/registry/network.ts";
import { temporaryFolder } from "../support.ts";
import { type MemoryImage, memoryImage, stock } from "./images.ts";
import { startProxy, type TestProxy } from "./servers.ts";
import { TestRegistry } from "./test-registry.ts";

const folder = temporaryFolder();
let count = 0;

function write(path: string, value: unknown): string {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, JSON.stringify(value));
  return path;
}

const entry = (user: string): object => ({ auths: { "r.example": { auth: btoa(`${user}:secret`) } } });

describe("credentials are found where Podman, Skopeo and Docker have them", () => {
  const home = join(folder, "home");
  const user = async (env: Record<string, string>, file?: string): Promise<string | undefined> =>
    (await nodeCredentials({ env, ...(file === undefined ? {} : { file }) })("r.example", "a/b"))?.username;

  test("the given file, then $REGISTRY_AUTH_FILE, then containers' two, then Docker's", async () => {
    const docker = join(home, ".docker", "config.json");
    const places = {
      given: write(join(folder, "given.json"), entry("given")),
      named: write(join(folder, "named.json"), entry("named")),
      runtime: write(join(folder, "run", "containers", "auth.json"), entry("runtime")),
      config: write(join(home, ".config", "containers", "auth.json"), entry("config")),
      docker: write(docker, entry("docker")),
      elsewhere: write(join(folder, "elsewhere", "config.json"), entry("elsewhere")),
    };
    const env = { HOME: home, XDG_RUNTIME_DIR: join(folder, "run"), REGISTRY_AUTH_FILE: places.named, DOCKER_CONFIG: join(folder, "elsewhere") };
    expect(await user(env, places.given)).toBe("given");
    expect(await user(env)).toBe("named");
    expect(await user({ ...env, REGISTRY_AUTH_FILE: "" })).toBe("runtime");
    expect(await user({ HOME: home })).toBe("config");
    write(places.config, { auths: { "other.example": { auth: btoa("x:y") } } });
    expect(await user({ HOME: home })).toBe("docker");
    expect(await user({ HOME: home, DOCKER_CONFIG: join(folder, "elsewhere") })).toBe("elsewhere");
    expect(await user({ HOME: join(folder, "nobody") })).toBeUndefined();
    expect(await user({})).toBeUndefined();
  });

  test("a file that is named must be there, and must be one", async () => {
    await expect(user({ REGISTRY_AUTH_FILE: join(folder, "missing") })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(user({}, write(join(folder, "list.json"), []))).rejects.toMatchObject({ code: "BAD_CREDENTIALS" });
  });
});

describe("credential helpers", () => {
  async function ask(script: string): Promise<unknown> {
    const bin = join(folder, `bin-${count++}`);
    mkdirSync(bin);
    writeFileSync(join(bin, "docker-credential-test"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, "docker-credential-test"), 0o755);
    const file = write(join(folder, "helped.json"), { credHelpers: { "docker.io": "test", "gone.example": "gone" } });
    return nodeCredentials({ env: { PATH: `${bin}${delimiter}${process.env.PATH}` }, file })("docker.io", "library/x");
  }

  posix()("are asked for the address that they know, on standard input", async () => {
    const script = 'read -r server; [ "$1" = get ] && printf \'{"ServerURL":"%s","Username":"%s","Secret":"s"}\' "$server" "$server"';
    expect(await ask(script)).toEqual({ username: "https://index.docker.io/v1/", password: "s" });
    expect(await ask('echo \'{"Username":"<token>","Secret":"refresh"}\'')).toEqual({ identityToken: "refresh" });
  });

  posix()("that have nothing, say so; that fail, are said to fail", async () => {
    expect(await ask("echo credentials not found in native keychain; exit 1")).toBeUndefined();
    await expect(ask("echo secret >&2; exit 3")).rejects.toMatchObject({ code: "BAD_CREDENTIALS", kind: "system", facts: { found: "exit status 3" } });
    await expect(ask("echo nonsense")).rejects.toMatchObject({ code: "JSON_SYNTAX" });
    await expect(ask("echo '{}'")).rejects.toMatchObject({ code: "BAD_CREDENTIALS" });
    await expect(ask("head -c 3000000 /dev/zero")).rejects.toMatchObject({ code: "BAD_CREDENTIALS" });
    const gone = nodeCredentials({ env: { PATH: "/nowhere" }, file: join(folder, "helped.json") })("gone.example");
    await expect(gone).rejects.toMatchObject({ code: "BAD_CREDENTIALS", facts: { path: "docker-credential-gone" } });
  });
});

describe("Node's own request", () => {
  let server: Server;
  let url: string;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  let connections: number;
  beforeAll(async () => {
    server = createServer((request, response) => answer(request, response));
    server.on("connection", () => connections++);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  beforeEach(() => {
    connections = 0;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const ask = (network: Network, init: Partial<FetchInit> = {}): Promise<FetchResponse> =>
    network.fetch(url, { method: "GET", headers: {}, redirect: "manual", signal: new AbortController().signal, ...init });

  test("uses a connection again when nobody read the small answer, and not when that does not end", async () => {
    const network = nodeNetwork();
    answer = (_request, response) => void response.end("small");
    for (let i = 0; i < 3; i++) {
      await (await ask(network)).body?.getReader().cancel();
      await setTimeout(20);
    }
    expect(connections).toBe(1);
    let closed = false;
    answer = (_request, response) => {
      const more = setInterval(() => response.write(Buffer.alloc(10_000)), 1);
      response.on("close", () => {
        closed = true;
        clearInterval(more);
      });
    };
    await (await ask(network)).body?.getReader().cancel();
    await vi.waitUntil(() => closed);
  });

  test("ends an upload that the server has answered before it was whole", async () => {
    let cancelled = false;
    answer = (_request, response) => void response.writeHead(413).end("too much");
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        await setTimeout(1);
        controller.enqueue(new Uint8Array(100_000));
      },
      cancel() {
        cancelled = true;
      },
    });
    const response = await ask(nodeNetwork(), { method: "POST", body, duplex: "half", headers: { "content-length": String(1e12) } });
    expect(response.status).toBe(413);
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("too much");
    expect((await reader?.read())?.done).toBe(true);
    await vi.waitUntil(() => cancelled);
  });

  test("fails with the error of the body that it sends", async () => {
    answer = (request) => void request.resume();
    const body = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error("no more of it")) });
    await expect(ask(nodeNetwork(), { method: "POST", body, duplex: "half" })).rejects.toThrow("no more of it");
  });
});

describe("a proxy", () => {
  let registry: TestRegistry;
  let image: MemoryImage;
  let proxy: TestProxy;
  let address = "";
  beforeAll(async () => {
    registry = await new TestRegistry().start();
    image = await memoryImage();
    await stock(registry, "a", image, "t");
    proxy = await startProxy(() => registry.host);
    address = proxy.host;
  });

  const resolve = async (env: Record<string, string>, host: string = "registry.test"): Promise<string> => {
    proxy.asked.length = 0;
    const client = createRegistryClient({ network: nodeNetwork({ env }), plainHttp: [host], patience: { attempts: 1 } });
    return (await client.repository(`${host}/a:t`).resolve()).digest;
  };

  test("of the environment that is handed in is used, with its own password", async () => {
    expect(await resolve({ HTTP_PROXY: `http://u:p@${address}` })).toBe(image.root.digest);
    expect(proxy.asked).toEqual([`registry.test:80 Basic ${btoa("u:p")}`]);
    expect(await resolve({ http_proxy: `http://${address}`, HTTP_PROXY: "http://192.0.2.1:1" })).toBe(image.root.digest);
  });

  test("is not asked for what NO_PROXY names, nor for this machine", async () => {
    await expect(resolve({ HTTP_PROXY: `http://${address}`, NO_PROXY: "registry.test" })).rejects.toMatchObject({ code: "NETWORK_FAILED" });
    expect(proxy.asked).toEqual([]);
    expect(await resolve({ HTTP_PROXY: `http://${address}` }, registry.host)).toBe(image.root.digest);
    expect(proxy.asked).toEqual([]);
  });

  test("of the process's own environment is not looked at", async () => {
    const before = process.env.HTTP_PROXY;
    process.env.HTTP_PROXY = `http://${address}`;
    try {
      await expect(resolve({})).rejects.toMatchObject({ code: "NETWORK_FAILED" });
      await expect(resolve({ HTTPS_PROXY: `http://${address}`, NO_PROXY: "registry.test" })).rejects.toMatchObject({ code: "NETWORK_FAILED" });
      expect(proxy.asked).toEqual([]);
    } finally {
      if (before === undefined) delete process.env.HTTP_PROXY;
      else process.env.HTTP_PROXY = before;
    }
  });
});

test("a folder of certificates has authorities, and at most one pair of the client's own", () => {
  const place = join(folder, "certs.d");
  mkdirSync(place);
  expect(readCertificates(place)).toEqual({ ca: [] });
  for (const name of ["b.crt", "a.crt", "me.cert", "me.key", "note.txt"]) writeFileSync(join(place, name), name);
  expect(readCertificates(place)).toEqual({ ca: ["a.crt", "b.crt"], client: { certificate: "me.cert", key: "me.key" } });
  writeFileSync(join(place, "other.cert"), "");
  expect(() => readCertificates(place)).toThrow(expect.objectContaining({ code: "BAD_CREDENTIALS" }));
  expect(() => readCertificates(join(folder, "none"))).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
});
