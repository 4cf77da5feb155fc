// Debian's docker-registry between us and the field's own tools: what we push they pull and run, what they push we verify.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { collect } from "@imgkit/bytes";
import { treeFromObject, writeTar } from "@imgkit/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oracle, oracleRoot } from "../../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeCredentials, nodeEngines, nodeNetwork, openLayout } from "../../src/index.node.ts";
import {
  addLayer,
  buildArtifact,
  buildImage,
  buildIndex,
  copyImage,
  createRegistryClient,
  deleteReferrer,
  type Image,
  imageAsLayout,
  type Layer,
  layoutSource,
  layoutTarget,
  listReferrers,
  memoryBlobs,
  parsePlatform,
  pushReferrer,
  type RegistryOptions,
  type Repository,
  referrersTag,
  verifyLayout,
} from "../../src/index.ts";
import { EPOCH, gnuTar, imageDefaults, makeRoot, run, temporaryFolder } from "../support.ts";
import { fastNetwork } from "./images.ts";
import { type DockerRegistry, makeCertificate, startDockerRegistry, startProxy, startWire } from "./servers.ts";

const folder = temporaryFolder();
const tar = gnuTar(makeRoot(folder));
let count = 0;
const fresh = (): string => join(folder, `case-${count++}`);
const client = (options: Partial<RegistryOptions> = {}): ReturnType<typeof createRegistryClient> =>
  createRegistryClient({ network: nodeNetwork(), sha256: nodeEngines.sha256, ...options });

async function ours(content: Uint8Array = tar, settings: object = {}): Promise<{ path: string; image: Image; layer: Layer }> {
  const path = fresh();
  const writer = await createLayout(path);
  const layer = await addLayer(writer.blobs, [content], { engines: nodeEngines });
  const image = await buildImage(writer.blobs, { ...imageDefaults, layers: [layer], ...settings });
  writer.add(image.descriptor, "1.0");
  await writer.commit();
  return { path, image, layer };
}

async function push(path: string, to: Repository, tag: string, from: string = tag): ReturnType<typeof copyImage> {
  return copyImage(layoutSource(await openLayout(path)), from, to, tag);
}

async function pulled(from: Repository): Promise<string> {
  const path = fresh();
  const writer = await createLayout(path);
  await copyImage(from, undefined, layoutTarget(writer), "pulled");
  await writer.commit();
  return path;
}

async function list<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

let registry: DockerRegistry;
const started = oracle("docker-registry") === test;
beforeAll(async () => {
  if (started) registry = await startDockerRegistry(folder);
});

describe("what we push", () => {
  oracle("docker-registry", "skopeo")("is pulled by skopeo and by us, to the same digest", async () => {
    const { path, image } = await ours();
    const pushed = await push(path, client().repository(`${registry.host}/a/b`), "1.0");
    expect(pushed).toMatchObject({ descriptor: { digest: image.descriptor.digest }, copied: 2, present: 0 });
    const theirs = fresh();
    run("skopeo", "copy", "--src-tls-verify=false", `docker://${registry.host}/a/b:1.0`, `oci:${theirs}:x`);
    expect(await verifyLayout(directoryFiles(theirs), { tag: "x", digest: image.descriptor.digest })).toMatchObject({ ok: true });
    const back = await pulled(client().repository(`${registry.host}/a/b:1.0`));
    expect(await verifyLayout(directoryFiles(back), { tag: "pulled", digest: image.descriptor.digest })).toMatchObject({ ok: true, findings: [] });
    expect(await push(path, client().repository(`${registry.host}/a/b`), "1.0")).toMatchObject({ copied: 0, present: 2, bytes: 0 });
  });

  oracle("docker-registry")("is verified where it is, without a local copy", async () => {
    const { path } = await ours();
    await push(path, client().repository(`${registry.host}/verified`), "1.0");
    const remote = client().repository(`${registry.host}/verified:1.0`);
    const report = await verifyLayout(await imageAsLayout(remote.blobs, await remote.resolve(), "remote", "x"), { engines: nodeEngines });
    expect(report).toMatchObject({ ok: true, findings: [] });
    expect(report.verified.map(({ kind }) => kind).sort()).toEqual(["config", "layer", "manifest"]);
  });

  oracle("docker-registry", "skopeo")("in pieces and from a stream is the same", async () => {
    const large = new Uint8Array(3 << 20);
    for (let i = 1024; i < large.length; i++) large[i] = (i * 2654435761) >>> 11;
    const { path, image, layer } = await ours(large);
    await push(path, client({ chunkSize: 1 << 20 }).repository(`${registry.host}/pieces`), "1.0");
    const inspected = run("skopeo", "inspect", "--tls-verify=false", `docker://${registry.host}/pieces:1.0`);
    expect(JSON.parse(inspected).Digest).toBe(image.descriptor.digest);
    const streamed = client({ chunkSize: 1 << 20 }).repository(`${registry.host}/streamed`);
    const half = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < large.length; at += 77_777) yield large.subarray(at, at + 77_777);
    };
    expect(await streamed.blobs.put(half())).toEqual({ digest: layer.diffId, size: large.length });
    expect(await streamed.blobs.has(layer.diffId)).toBe(true);
  });

  oracle("docker-registry", "skopeo")("an index of two platforms is chosen from, whole and in part", async () => {
    const path = fresh();
    const writer = await createLayout(path);
    const layer = await addLayer(writer.blobs, [tar]);
    const images = [];
    for (const name of ["linux/amd64", "linux/arm64/v8", "linux/riscv64"])
      images.push(await buildImage(writer.blobs, { ...imageDefaults, platform: parsePlatform(name), layers: [layer] }));
    const index = await buildIndex(writer.blobs, { images });
    writer.add(index.descriptor, "multi");
    await writer.commit();
    const to = client().repository(`${registry.host}/multi`);
    expect((await push(path, to, "multi")).descriptor.digest).toBe(index.descriptor.digest);
    const config = run("skopeo", "--override-arch=arm64", "inspect", "--tls-verify=false", "--config", `docker://${registry.host}/multi:multi`);
    expect(JSON.parse(config)).toMatchObject({ architecture: "arm64", variant: "v8" });
    const source = layoutSource(await openLayout(path));
    const one = await copyImage(source, "multi", client().repository(`${registry.host}/one`), "t", { platform: parsePlatform("linux/riscv64") });
    expect(one.descriptor.digest).toBe(images[2]?.descriptor.digest);
    const platforms = ["linux/amd64", "linux/arm64"].map(parsePlatform);
    const two = await copyImage(source, "multi", client().repository(`${registry.host}/two`), "t", { platforms });
    expect(JSON.parse(run("skopeo", "inspect", "--tls-verify=false", "--raw", `docker://${registry.host}/two:t`)).manifests).toHaveLength(2);
    expect(two.descriptor.digest).not.toBe(index.descriptor.digest);
    await expect(copyImage(source, "multi", to, "t", { platform: parsePlatform("linux/s390x") })).rejects.toMatchObject({ code: "NO_SUCH_IMAGE" });
  });
});

describe("a wire that breaks", () => {
  oracle("docker-registry")("a push that is cut anywhere, and cut again, ends with the same digest", async () => {
    const content = new Uint8Array(3 << 20);
    for (let i = 1024; i < content.length; i++) content[i] = (i * 2654435761) >>> 7;
    const writer = await createLayout(fresh());
    const layer = await addLayer(writer.blobs, [content], { compression: "none" });
    const image = await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] });
    const source = { blobs: writer.blobs, resolve: async () => image.descriptor };
    for (const [i, cut] of [100, 300, 700, 1500, 100_000, 1_000_000, 3_000_000, 3_147_000].entries()) {
      const wire = await startWire(registry.host);
      wire.cuts.push(cut, cut);
      const repository = client({ network: fastNetwork() }).repository(`${wire.host}/broken-${i}`);
      expect((await copyImage(source, undefined, repository, "t")).descriptor.digest).toBe(image.descriptor.digest);
      const remote = client().repository(`${registry.host}/broken-${i}:t`);
      const back = await copyImage(remote, undefined, layoutTarget({ blobs: memoryBlobs(), add() {} }));
      expect(back).toMatchObject({ descriptor: { digest: image.descriptor.digest }, copied: 2 });
      wire.close();
    }
    writer.abort();
  });
});

describe("what others push", () => {
  oracle("docker-registry", "skopeo")("skopeo's is pulled and verified by us, Docker's media types too", async () => {
    const { path } = await ours();
    for (const format of ["oci", "v2s2"]) {
      run("skopeo", "copy", "--dest-tls-verify=false", `--format=${format}`, `oci:${path}:1.0`, `docker://${registry.host}/theirs:${format}`);
      const back = await pulled(client().repository(`${registry.host}/theirs:${format}`));
      const report = await verifyLayout(directoryFiles(back), { tag: "pulled", engines: nodeEngines });
      expect(report.findings.filter(({ level }) => level === "error")).toEqual([]);
      expect(report.verified.some(({ kind, diffId }) => kind === "layer" && diffId !== undefined)).toBe(true);
    }
  });
});

describe("the registry itself", () => {
  oracle("docker-registry")("tags, catalogue, head, deletion of tags, manifests and blobs", async () => {
    const { path, image, layer } = await ours();
    const to = client().repository(`${registry.host}/listed`);
    for (const tag of ["b", "a", "1.0"]) await push(path, to, tag, "1.0");
    // In no order: 2.8 does not sort them.
    expect((await list(to.tags())).sort()).toEqual(["1.0", "a", "b"]);
    expect(await list(client().catalog(registry.host))).toContain("listed");
    expect(await to.head("a")).toEqual({ mediaType: image.descriptor.mediaType, digest: image.descriptor.digest, size: image.descriptor.size });
    expect(await to.head("none")).toBeUndefined();
    await expect(to.resolve("none")).rejects.toMatchObject({ code: "NO_SUCH_IMAGE" });
    await to.deleteManifest(image.descriptor.digest);
    expect(await to.head("a")).toBeUndefined();
    await to.deleteBlob(layer.descriptor.digest);
    expect(await to.blobs.has(layer.descriptor.digest)).toBe(false);
    await expect(to.blobs.open(layer.descriptor.digest)).rejects.toMatchObject({ code: "BLOB_MISSING" });
    await expect(to.deleteManifest(image.descriptor.digest)).rejects.toMatchObject({ code: "NO_SUCH_IMAGE" });
    await expect(list(client().repository(`${registry.host}/nobody`).tags())).rejects.toMatchObject({ code: "REGISTRY_NOT_FOUND" });
  });

  oracle("docker-registry")("from one repository to another blobs are mounted, from one registry to another streamed", async () => {
    const { path, image } = await ours(gnuTar(makeRoot(fresh())));
    const from = client().repository(`${registry.host}/from`);
    await push(path, from, "1.0");
    const shared = client();
    const mounted = await copyImage(shared.repository(`${registry.host}/from:1.0`), undefined, shared.repository(`${registry.host}/to`), "1.0");
    expect(mounted).toMatchObject({ mounted: 2, copied: 0, bytes: 0, descriptor: { digest: image.descriptor.digest } });
    const other = await startDockerRegistry(folder);
    const copied = await copyImage(shared.repository(`${registry.host}/to:1.0`), undefined, shared.repository(`${other.host}/to`), "1.0");
    expect(copied).toMatchObject({ copied: 2, mounted: 0, descriptor: { digest: image.descriptor.digest } });
    other.stop();
  });

  oracle("docker-registry", "skopeo")("2.8 has no referrers API: they are listed under the fallback tag", async () => {
    const { path, image } = await ours();
    const to = client().repository(`${registry.host}/about`);
    await push(path, to, "1.0");
    const pushed: string[] = [];
    for (const [artifactType, text] of [
      ["application/spdx+json", "{}"],
      ["application/vnd.example.note", "a note"],
      ["application/spdx+json", '{"a":1}'],
    ] as const) {
      const files = [{ content: [new TextEncoder().encode(text)], mediaType: artifactType, title: "file" }];
      const artifact = await buildArtifact(to.blobs, { artifactType, files, subject: image.descriptor, annotations: { "org.example": text } });
      expect(await pushReferrer(to, artifact.descriptor, artifact.bytes)).toBe("tag");
      pushed.push(artifact.descriptor.digest);
    }
    const digests = async (type?: string): Promise<string[]> =>
      (await list(listReferrers(client().repository(`${registry.host}/about`), image.descriptor.digest, type))).map(({ digest }) => digest);
    expect(await digests()).toEqual(pushed);
    expect(await digests("application/spdx+json")).toEqual([pushed[0], pushed[2]]);
    const raw = JSON.parse(run("skopeo", "inspect", "--raw", "--tls-verify=false", `docker://${registry.host}/about:${referrersTag(image.descriptor.digest)}`));
    expect(raw.manifests[1]).toMatchObject({ artifactType: "application/vnd.example.note", annotations: { "org.example": "a note" } });
    await deleteReferrer(to, pushed[1] ?? "");
    expect(await digests()).toEqual([pushed[0], pushed[2]]);
    expect(await digests("application/vnd.example.note")).toEqual([]);
  });
});

describe("with a password", () => {
  oracle(
    "docker-registry",
    "htpasswd",
    "skopeo",
  )("it is taken from skopeo's own login, by file, and a wrong one is said to be wrong", async () => {
    const htpasswd = execFileSync("htpasswd", ["-nbB", "alice", "secret"], { encoding: "utf8" });
    const { host } = await startDockerRegistry(folder, { htpasswd });
    const { path, image } = await ours();
    const file = join(folder, "auth.json");
    run("skopeo", "login", "--tls-verify=false", "--authfile", file, "-u", "alice", "-p", "secret", host);
    const credentials = nodeCredentials({ env: {}, file });
    await push(path, client({ credentials }).repository(`${host}/a`), "1.0");
    const asked = run("skopeo", "inspect", "--tls-verify=false", "--authfile", file, `docker://${host}/a:1.0`);
    expect(JSON.parse(asked).Digest).toBe(image.descriptor.digest);
    const docker = join(folder, "docker");
    mkdirSync(docker);
    copyFileSync(file, join(docker, "config.json"));
    expect(
      (
        await client({ credentials: nodeCredentials({ env: { DOCKER_CONFIG: docker } }) })
          .repository(`${host}/a:1.0`)
          .resolve()
      ).digest,
    ).toBe(image.descriptor.digest);
    for (const wrong of [undefined, { username: "alice", password: "guess" }]) {
      const refused = client({ credentials: async () => wrong })
        .repository(`${host}/a:1.0`)
        .resolve();
      await expect(refused).rejects.toMatchObject({ code: "REGISTRY_AUTH", kind: "input" });
    }
  });
});

describe("with TLS", () => {
  oracle(
    "docker-registry",
    "openssl",
    "skopeo",
  )("a registry of a self-made authority is trusted when it is given, and only then, through a proxy too", async () => {
    const tls = makeCertificate(folder);
    const { host } = await startDockerRegistry(folder, { tls });
    const { path, image } = await ours();
    const trusting = nodeNetwork({ ca: [readFileSync(tls.ca, "utf8")] });
    await push(path, client({ network: trusting }).repository(`${host}/a`), "1.0");
    const certificates = join(folder, "certs");
    mkdirSync(certificates);
    copyFileSync(tls.ca, join(certificates, "ca.crt"));
    expect(JSON.parse(run("skopeo", "inspect", "--cert-dir", certificates, `docker://${host}/a:1.0`)).Digest).toBe(image.descriptor.digest);
    const distrusting = client().repository(`${host}/a:1.0`).resolve();
    await expect(distrusting).rejects.toMatchObject({ code: "NETWORK_FAILED", facts: { hint: expect.stringContaining("CA") } });
    const extra = nodeNetwork({ ca: [rootCertificates[0] ?? ""], env: { NODE_EXTRA_CA_CERTS: tls.ca } });
    expect((await client({ network: extra }).repository(`${host}/a:1.0`).resolve()).digest).toBe(image.descriptor.digest);
    const proxy = await startProxy(() => host);
    const tunnelled = nodeNetwork({ ca: [readFileSync(tls.ca, "utf8")], env: { https_proxy: `http://${proxy.host}` } });
    expect((await client({ network: tunnelled }).repository("registry.test/a:1.0").resolve()).digest).toBe(image.descriptor.digest);
    expect(proxy.asked).toEqual(["registry.test:443"]);
    const blind = client({ network: nodeNetwork({ insecure: true }) }).repository(`${host}/a:1.0`);
    expect((await blind.resolve()).digest).toBe(image.descriptor.digest);
  });
});

describe("containers", () => {
  // Lowercase, short paths: Podman and Buildah derive names from them.
  const store = mkdtempSync(join(tmpdir(), "imgkit-run-"));
  afterAll(() => {
    execFileSync("rm", ["-rf", store]);
  });

  async function busybox(): Promise<string> {
    const tree = treeFromObject({ "bin/sh": { content: new Uint8Array(readFileSync("/bin/busybox")), mode: 0o755 }, words: "pushed and run\n" });
    const settings = { entrypoint: ["/bin/sh", "-c"], cmd: ["read words < /words; echo $words"] };
    const { path } = await ours(await collect(writeTar(tree, { epoch: EPOCH })), { settings });
    await push(path, client().repository(`${registry.host}/run`), "1.0");
    return `docker://${registry.host}/run:1.0`;
  }

  async function verifiedPull(name: string): Promise<void> {
    const back = await pulled(client().repository(`${registry.host}/${name}`));
    const report = await verifyLayout(directoryFiles(back), { tag: "pulled", engines: nodeEngines });
    expect(report.findings.filter(({ level }) => level === "error")).toEqual([]);
  }

  oracleRoot(
    "docker-registry",
    "podman",
    "runc",
    "busybox",
  )("podman pulls what we pushed, runs it, and pushes what we verify", async () => {
    const reference = await busybox();
    const podman = ["--root", join(store, "p"), "--runroot", join(store, "pr"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"];
    const limits = ["--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    expect(run("podman", ...podman, "run", "--rm", "--tls-verify=false", ...limits, reference)).toBe("pushed and run\n");
    run("podman", ...podman, "push", "--tls-verify=false", reference.slice("docker://".length), `docker://${registry.host}/podman:1`);
    await verifiedPull("podman:1");
  });

  oracleRoot(
    "docker-registry",
    "buildah",
    "busybox",
  )("buildah builds on what we pushed, and pushes what we verify", async () => {
    const reference = await busybox();
    const buildah = ["--root", join(store, "b"), "--runroot", join(store, "br"), "--storage-driver", "vfs"];
    const name = run("buildah", ...buildah, "from", "--tls-verify=false", reference).trim();
    expect(run("buildah", ...buildah, "run", "--isolation", "chroot", name, "--", "/bin/sh", "-c", "read words < /words; echo $words")).toBe(
      "pushed and run\n",
    );
    run("buildah", ...buildah, "config", "--label", "built=yes", name);
    run("buildah", ...buildah, "commit", "--tls-verify=false", name, `docker://${registry.host}/buildah:1`);
    await verifiedPull("buildah:1");
  });
});
