// Runs in a page: the main job of the libraries, without Node. Packages come from their builds, by the page's import map.

import { collect, memorySource, portableSha256, streamSource, toHex } from "@imgkit/bytes";
import { gunzip } from "@imgkit/compress";
import { normalise, readTar, writeTar } from "@imgkit/core";
import { layoutDisk, writeDisk } from "@imgkit/disk";
import { addLayer, memoryBlobs } from "@imgkit/oci";
import { createSimdEngine, portableEngine } from "@imgkit/verity";

const sha256 = (bytes) => `sha256:${toHex(portableSha256.hash(bytes))}`;
const load = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());

async function makeLayer(tree, epoch) {
  const blobs = memoryBlobs();
  const { descriptor, diffId } = await addLayer(blobs, writeTar(tree, { epoch }));
  const blob = await blobs.open(descriptor.digest);
  const bytes = await blob.read(0, blob.size);
  const inflated = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  return {
    digest: descriptor.digest,
    diffId,
    inflatedByBrowser: sha256(new Uint8Array(await inflated.arrayBuffer())),
    inflatedByUs: sha256(await collect(gunzip([bytes]))),
  };
}

async function makeDisk(tree, epoch, engine) {
  const layout = await layoutDisk({ tree, epoch }, { arch: "x86-64" });
  const disk = new Uint8Array(layout.size);
  const { rootHash } = await writeDisk(layout, { writeAt: (offset, bytes) => disk.set(bytes, offset), truncate() {} }, { engine });
  return { engine: engine.name, digest: sha256(disk), rootHash, erofs: sha256(await collect(streamSource(layout.pairs[0].fileSystem.source))) };
}

async function results() {
  const { epoch } = await (await fetch("/job.json")).json();
  const { tree } = normalise((await readTar(memorySource(await load("/source.tar")))).tree, { epoch });
  return {
    tar: sha256(await collect(writeTar(tree, { epoch }))),
    layer: await makeLayer(tree, epoch),
    disks: [await makeDisk(tree, epoch, portableEngine), await makeDisk(tree, epoch, await createSimdEngine())],
  };
}

const answer = await results().catch((error) => ({ error: String(error?.stack ?? error) }));
await fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
