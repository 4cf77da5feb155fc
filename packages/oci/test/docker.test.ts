// Docker itself: what it loads of ours, and what it saves.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect } from "@imgkit/bytes";
import { openFile } from "@imgkit/bytes/node";
import type { Tree } from "@imgkit/core";
import { afterAll, expect } from "vitest";
import { oracle, oracleRoot } from "../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeEngines, openLayout } from "../src/index.node.ts";
import {
  dockerArchiveFiles,
  type Layout,
  loadImage,
  openLayoutFiles,
  readImageTree,
  resolveDockerName,
  resolveTag,
  verifyLayout,
  writeArchive,
} from "../src/index.ts";
import { differences, file, folder, imageOf, inMemory, link, symlink } from "./layers.ts";
import { EPOCH, run, temporaryFolder } from "./support.ts";

const scratch = temporaryFolder();
let daemon: ChildProcess | undefined;
const socket = `unix://${join(scratch, "socket")}`;
const docker = (...args: string[]): string => execFileSync("docker", ["-H", socket, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

afterAll(async () => {
  if (daemon === undefined) return;
  const ended = new Promise((resolve) => daemon?.once("close", resolve));
  daemon.kill();
  await ended;
});

/** A daemon of the test's own, without a network. */
async function startDocker(): Promise<void> {
  const place = (name: string): string => join(scratch, name);
  mkdirSync(place("data"), { recursive: true });
  const folders = ["--data-root", place("data"), "--exec-root", place("exec"), "--pidfile", place("pid")];
  const quiet = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--storage-driver", "vfs"];
  daemon ??= spawn("dockerd", [...folders, "-H", socket, ...quiet], { stdio: "ignore" });
  for (let i = 0; i < 150; i++) {
    try {
      docker("version");
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  throw new Error("dockerd does not answer");
}

const lower = [folder(""), folder("etc"), file("etc/a", "a"), file("etc/b", "b"), link("etc/c", "etc/b"), symlink("l", "etc")];
const upper = [folder(""), folder("etc", { mode: 0o700 }), file("etc/.wh.a"), file("etc/d", "d")];

async function ours(): Promise<Layout> {
  const path = join(scratch, "layout");
  const writer = await createLayout(path);
  // The third layer is the first again: Docker saves it as a link.
  writer.add((await imageOf(writer.blobs, [lower, upper, lower])).descriptor, "t");
  await writer.commit();
  return openLayout(path);
}
async function treeOf(layout: Layout, name: string): Promise<Tree> {
  const { tree } = await readImageTree(layout.blobs, await loadImage(layout.blobs, resolveDockerName(layout.index, name)), {
    spool: inMemory,
    engines: nodeEngines,
  });
  return tree;
}

oracleRoot("dockerd", "docker")(
  "docker load takes our docker-archive; what docker save makes of it is read: the same tree and diff_ids",
  { timeout: 90_000 },
  async () => {
    const layout = await ours();
    const [archive, saved] = [join(scratch, "ours.tar"), join(scratch, "saved.tar")];
    writeFileSync(archive, await collect(writeArchive(layout, { epoch: EPOCH, repoTags: ["localhost/app:1.0"] })));
    await startDocker();
    expect(docker("load", "-i", archive)).toContain("localhost/app:1.0");
    const image = await loadImage(layout.blobs, resolveTag(layout.index, "t"));
    const [seen] = JSON.parse(docker("image", "inspect", "localhost/app:1.0"));
    expect(seen).toMatchObject({ Created: "2023-11-14T22:13:20Z", RootFS: { Layers: image.config.rootfs.diff_ids } });
    // Docker's id of an image is the digest of its config, which stayed to the byte.
    expect(seen.Id).toBe(image.manifest.config.digest);
    docker("save", "-o", saved, "localhost/app:1.0");
    const files = await dockerArchiveFiles(openFile(saved), { name: saved, sha256: nodeEngines.sha256 });
    expect((await verifyLayout(files, { engines: nodeEngines })).findings.filter(({ level }) => level === "error")).toEqual([]);
    const theirs = await openLayoutFiles(files);
    expect((await loadImage(theirs.blobs, resolveDockerName(theirs.index, "localhost/app:1.0"))).config.rootfs).toEqual(image.config.rootfs);
    expect(await differences(await treeOf(theirs, "localhost/app:1.0"), await treeOf(layout, "t"))).toEqual([]);
  },
);

oracle("podman")("podman load takes our docker-archive and our oci-archive", async () => {
  const path = join(scratch, "podman-layout");
  const writer = await createLayout(path);
  const image = await imageOf(writer.blobs, [lower, upper]);
  writer.add(image.descriptor, "t");
  await writer.commit();
  const podman = (...args: string[]): string =>
    run("podman", "--root", join(scratch, "root"), "--runroot", join(scratch, "run"), "--storage-driver", "vfs", ...args);
  for (const repoTags of [["localhost/podman:1"], undefined]) {
    const archive = join(scratch, `podman-${repoTags === undefined ? "oci" : "docker"}.tar`);
    const options = { epoch: EPOCH, ...(repoTags === undefined ? {} : { repoTags }) };
    writeFileSync(archive, await collect(writeArchive(await openLayout(path), options)));
    podman("load", "-q", "-i", archive);
    const [seen] = JSON.parse(podman("image", "inspect", image.manifest.config.digest.slice("sha256:".length)));
    expect(seen.RootFS.Layers).toEqual(image.config.rootfs.diff_ids);
    podman("rmi", "--force", seen.Id);
  }
  expect((await verifyLayout(directoryFiles(path), { engines: nodeEngines })).ok).toBe(true);
});
