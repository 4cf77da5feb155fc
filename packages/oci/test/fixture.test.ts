// The fixture's root file system (every kind of node, binary xattrs, long and UTF-8 names, large ids) all the way to umoci and back.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { compareTrees, formatDifference, writeTar } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import { expect } from "vitest";
import { fixtureTree } from "../../../fixtures/src/index.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { createLayout, directoryFiles, nodeEngines } from "../src/index.node.ts";
import { addLayer, buildImage, verifyLayout } from "../src/index.ts";
import { EPOCH, imageDefaults, run, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();

oracleRoot("umoci", "getfattr")(
  "umoci unpacks the fixture's image to the fixture's tree, less the attribute without a value that Go's tar cannot read",
  async () => {
    const tree = fixtureTree();
    const path = join(folder, "oci");
    const writer = await createLayout(path);
    const layer = await addLayer(writer.blobs, writeTar(tree, { epoch: EPOCH }), { engines: nodeEngines });
    writer.add((await buildImage(writer.blobs, { ...imageDefaults, layers: [layer] })).descriptor, "t");
    await writer.commit();
    expect(await verifyLayout(directoryFiles(path), { engines: nodeEngines, tag: "t" })).toMatchObject({ ok: true, findings: [] });
    mkdirSync(join(folder, "bundles"));
    run("umoci", "unpack", "--image", `${path}:t`, join(folder, "bundles", "b"));
    const unpacked = await readDirectory(join(folder, "bundles", "b", "rootfs"));
    const differences: string[] = [];
    for await (const difference of compareTrees(tree, unpacked)) differences.push(formatDifference(difference));
    // Go's archive/tar takes a PAX record with an empty value for the absence of the record, as POSIX has it for its own keywords.
    expect(differences).toEqual(["/srv/attributes/empty-value: xattr user.empty 0x and (none)"]);
  },
);
