// Against Debian's docker-registry, and with the field's own tools on its other side.
import { join } from "node:path";
import { beforeAll, describe, expect } from "vitest";
import { oracle } from "../../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeEngines, nodeNetwork, openLayout } from "../../src/index.node.ts";
import {
  addLayer,
  buildImage,
  copyImage,
  createRegistryClient,
  type Image,
  imageAsLayout,
  layoutSource,
  layoutTarget,
  type RegistryOptions,
  verifyLayout,
} from "../../src/index.ts";
import { gnuTar, imageDefaults, makeRoot, run, temporaryFolder } from "../support.ts";
import { type DockerRegistry, startDockerRegistry } from "./servers.ts";

const folder = temporaryFolder();
const tar = gnuTar(makeRoot(folder));
let count = 0;
const fresh = (): string => join(folder, `case-${count++}`);
const client = (options: Partial<RegistryOptions> = {}): ReturnType<typeof createRegistryClient> =>
  createRegistryClient({ network: nodeNetwork(), sha256: nodeEngines.sha256, ...options });

async function ours(path: string = fresh()): Promise<{ path: string; image: Image }> {
  const writer = await createLayout(path);
  const layer = await addLayer(writer.blobs, [tar], { engines: nodeEngines });
  const image = await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] });
  writer.add(image.descriptor, "1.0");
  await writer.commit();
  return { path, image };
}

describe("docker-registry 2.8", () => {
  let registry: DockerRegistry;
  beforeAll(async () => {
    registry = await startDockerRegistry(folder);
  });

  oracle("docker-registry", "skopeo")("an image that we pushed is pulled by skopeo and by us, to the same digest", async () => {
    const { path, image } = await ours();
    const repository = client().repository(`${registry.host}/a/b`);
    const pushed = await copyImage(layoutSource(await openLayout(path)), "1.0", repository, "1.0");
    expect(pushed).toMatchObject({ descriptor: { digest: image.descriptor.digest }, copied: 2, present: 0 });
    expect(JSON.parse(run("skopeo", "inspect", "--tls-verify=false", `docker://${registry.host}/a/b:1.0`)).Digest).toBe(image.descriptor.digest);
    const back = fresh();
    const writer = await createLayout(back);
    await copyImage(client().repository(`${registry.host}/a/b:1.0`), undefined, layoutTarget(writer), "back");
    await writer.commit();
    expect(await verifyLayout(directoryFiles(back), { tag: "back", digest: image.descriptor.digest })).toMatchObject({ ok: true, findings: [] });
    const remote = client().repository(`${registry.host}/a/b:1.0`);
    expect(await verifyLayout(await imageAsLayout(remote.blobs, await remote.resolve(), "remote", "x"))).toMatchObject({ ok: true, findings: [] });
  });
});
