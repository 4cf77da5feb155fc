// Debian's docker-registry (distribution 2.8), started for a test file on a port of its own.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Server as TcpServer } from "node:net";
import { join } from "node:path";
import { afterAll } from "vitest";

export interface DockerRegistry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  stop(): void;
}

export interface DockerRegistryOptions {
  /** The htpasswd file's lines. */
  readonly htpasswd?: string;
  /** PEM files. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

let count = 0;

// Registered here, once for each test file: a test itself can register nothing for its file's end.
const running = new Set<() => void>();
afterAll(() => {
  for (const stop of running) stop();
});

/** Starts a registry whose files are below `folder`; it is stopped at the end of the test file. */
export async function startDockerRegistry(folder: string, options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
  const place = join(folder, `registry-${count++}`);
  mkdirSync(join(place, "data"), { recursive: true });
  const { htpasswd, tls } = options;
  if (htpasswd !== undefined) writeFileSync(join(place, "htpasswd"), htpasswd);
  const config = {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(place, "data") }, delete: { enabled: true }, maintenance: { uploadpurging: { enabled: false } } },
    http: { addr: "127.0.0.1:0", ...(tls === undefined ? {} : { tls: { certificate: tls.certificate, key: tls.key } }) },
    ...(htpasswd === undefined ? {} : { auth: { htpasswd: { realm: "test", path: join(place, "htpasswd") } } }),
  };
  // JSON is YAML.
  writeFileSync(join(place, "config.yml"), JSON.stringify(config));
  const child = spawn("docker-registry", ["serve", join(place, "config.yml")], { stdio: ["ignore", "pipe", "pipe"] });
  const stop = (): void => {
    child.kill();
  };
  running.add(stop);
  const port = await new Promise<string>((resolve, reject) => {
    let log = "";
    const look = (chunk: Buffer): void => {
      log += chunk.toString();
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(log)?.[1];
      if (found !== undefined) resolve(found);
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`docker-registry ended with ${code}: ${log}`)));
  });
  return { host: `127.0.0.1:${port}`, stop };
}

/** A self-made authority and a certificate of 127.0.0.1, localhost and registry.test that it signed, by openssl. */
export function makeCertificate(folder: string): { readonly ca: string; readonly certificate: string; readonly key: string } {
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { stdio: "pipe" });
  openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=imgkit test CA", "-keyout", at("ca.key"), "-out", at("ca.crt"));
  openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", at("server.key"), "-out", at("server.csr"));
  writeFileSync(at("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test\n");
  openssl(
    "x509",
    "-req",
    "-in",
    at("server.csr"),
    "-CA",
    at("ca.crt"),
    "-CAkey",
    at("ca.key"),
    "-CAcreateserial",
    "-days",
    "2",
    "-extfile",
    at("ext"),
    "-out",
    at("server.crt"),
  );
  return { ca: at("ca.crt"), certificate: at("server.crt"), key: at("server.key") };
}

export interface TestProxy {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** What it was asked for: `HOST:PORT`, and the `Proxy-Authorization` that came with it. */
  readonly asked: string[];
}

/** An HTTP proxy that leads to one place, whichever host it is asked for. */
export async function startProxy(target: () => string): Promise<TestProxy> {
  const asked: string[] = [];
  const server = createServer();
  server.on("connect", (request: IncomingMessage, socket) => {
    asked.push(`${request.url} ${request.headers["proxy-authorization"] ?? ""}`.trim());
    const up = connect(Number(target().split(":")[1]), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      up.pipe(socket).pipe(up);
    });
    for (const end of [up, socket]) end.on("error", () => socket.destroy());
  });
  const host = await listening(server);
  running.add(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host, asked };
}

export interface Wire {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Bytes from the client that pass before its connection is cut; each cut takes the next. */
  readonly cuts: number[];
  close(): void;
}

/** A wire to a server that breaks. */
export async function startWire(target: string): Promise<Wire> {
  const cuts: number[] = [];
  const server = createTcpServer((socket) => {
    const up = connect(Number(target.split(":")[1]), "127.0.0.1");
    let passed = 0;
    socket.on("data", (chunk: Buffer) => {
      passed += chunk.length;
      up.write(chunk);
      if (cuts[0] === undefined || passed < cuts[0]) return;
      cuts.shift();
      // What was written is to arrive before the cut, as on a real wire.
      up.end();
      socket.destroy();
    });
    up.pipe(socket);
    for (const end of [up, socket]) end.on("error", () => socket.destroy()).on("close", () => up.destroy());
  });
  const host = await listening(server);
  return { host, cuts, close: () => server.close() };
}

async function listening(server: Server | TcpServer): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
