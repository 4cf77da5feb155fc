import { execFile, execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type FileSource, openFile } from "@imgkit/bytes/node";
import { compareTrees, type Difference, formatDifference, readTar, type Tree } from "@imgkit/core";
import { readDirectory } from "@imgkit/core/node";
import { afterAll, describe, expect } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { long, oracle, oracleRoot } from "../../../test/oracle.ts";
import { epoch, imgkitJson, Scratch } from "./cli.ts";

// The main job on real inputs, judged by the tools of the field: tar to image to disk, for the fixture, which has every kind of
// node, and for what mmdebstrap makes.

const scratch = new Scratch("main-job");
const EPOCH_NS = 1_700_000_000n * 1_000_000_000n;
const opened: FileSource[] = [];
afterAll(() => {
  for (const file of opened) file.close();
  scratch.remove();
});

/** What a tool prints to standard output; throws when its exit code is not 0. */
function run(tool: string, ...args: string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 2 ** 28 });
}

async function tarTree(path: string): Promise<Tree> {
  const file = openFile(path);
  opened.push(file);
  return (await readTar(file, { name: path })).tree;
}

async function differences(a: Tree, b: Tree): Promise<Difference[]> {
  const all: Difference[] = [];
  for await (const difference of compareTrees(a, b)) all.push(difference);
  return all;
}

const lines = async (a: Tree, b: Tree): Promise<string[]> => (await differences(a, b)).map(formatDifference);

/** The value of a job that is done when it is first asked for, and once. */
function once<T>(job: () => Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined;
  return () => {
    value ??= job();
    return value;
  };
}

/** A root file system as `imgkit rootfs` made it. */
interface RootFs {
  readonly tar: string;
  readonly tree: Tree;
}

const fixture = once(async (): Promise<RootFs> => {
  await writeFixtureTar(scratch.at("fixture.in.tar"));
  const tar = scratch.at("fixture.tar");
  await imgkitJson(["rootfs", scratch.at("fixture.in.tar"), "-o", tar, ...epoch]);
  return { tar, tree: await tarTree(tar) };
});

/** What mmdebstrap and then imgkit make of a spec, and beside it what mmdebstrap makes in a run of its own. */
function debian(name: string, spec: string, ...mmdebstrapArgs: string[]) {
  const tar = scratch.at(`${name}.tar`);
  const theirs = scratch.at(`${name}.theirs.tar`);
  const made = once(async () => {
    const report = await imgkitJson(["rootfs", `mmdebstrap:${spec}`, ...epoch, "-o", tar]);
    return { tar, report, tree: await tarTree(tar) };
  });
  const own = once(async () => {
    const env = { ...process.env, SOURCE_DATE_EPOCH: "1700000000", LC_ALL: "C" };
    await promisify(execFile)("mmdebstrap", [...mmdebstrapArgs, "bookworm", theirs], { env, maxBuffer: 2 ** 28 });
    return theirs;
  });
  return { made, own };
}

// All packages that dpkg calls essential, unpacked and configured: everything that bookworm proper has of its kind, in half the time.
const essential = debian("essential", "bookworm?variant=essential", "--variant=essential");
const bookworm = debian("bookworm", "bookworm");

for (const [name, offered, { made, own }] of [
  ["bookworm?variant=essential", oracleRoot("mmdebstrap", "tar"), essential],
  ["bookworm", long(), bookworm],
] as const) {
  describe(`rootfs mmdebstrap:${name}`, () => {
    offered("is, but for what was scrubbed, what GNU tar reads from mmdebstrap's own tar", { timeout: 600_000 }, async () => {
      const [{ tree, report }, theirs] = await Promise.all([made(), own()]);
      // Read by GNU tar, written by the kernel, read by readDirectory: not by our tar reader.
      const folder = scratch.folder(`theirs-${name.length}`);
      run("tar", "--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=*", "-C", folder, "-f", theirs);
      const left = (await differences(await readDirectory(folder), tree)).filter(
        (difference) => !(difference.kind === "mtime" && difference.a > EPOCH_NS && difference.b === EPOCH_NS),
      );
      fs.rmSync(folder, { recursive: true });
      const scrubbed = new Map(report.scrubbed.map(({ path, action }: { path: string; action: string }) => [path, action]));
      expect(report.profile).toBe("debian");
      expect(left.filter(({ path }) => !scrubbed.has(path)).map(formatDifference)).toEqual([]);
      for (const { path, kind } of left) expect([path, kind]).toEqual([path, scrubbed.get(path) === "removed" ? "only-in-a" : "content"]);
      // Nothing is named that was not there, or that is still there.
      const removed = [...scrubbed].filter(([, action]) => action === "removed").map(([path]) => path);
      expect(
        left
          .filter(({ kind }) => kind === "only-in-a")
          .map(({ path }) => path)
          .sort(),
      ).toEqual(removed.sort());
      expect(tree.size).toBeGreaterThan(5000);
    });

    offered("GNU tar lists the same names, modes, owners and links in both", { timeout: 600_000 }, async () => {
      const { tar, report } = await made();
      // Names and links as they are, and times left to the test above.
      const list = (path: string): Map<string, string> => {
        const text = run("tar", "--list", "--verbose", "--numeric-owner", "--full-time", "--quoting-style=escape", "-f", path);
        return new Map(
          text
            .trimEnd()
            .split("\n")
            .map((line): [string, string] => {
              const [, mode = "", owner = "", size = "", rest = ""] = /^(\S+) (\S+) +(\d+(?:,\d+)?) \S+ \S+ (.*)$/.exec(line) ?? [];
              const [at = ""] = rest.split(/ -> | link to /);
              return [at.replace(/^\.\//, "").replace(/\/$/, ""), `${mode} ${owner} ${size} ${rest.slice(at.length)}`];
            }),
        );
      };
      const before = list(await own());
      const after = list(tar);
      for (const { path, action } of report.scrubbed) {
        before.delete(path);
        if (action === "emptied") after.delete(path);
      }
      expect([...after].sort()).toEqual([...before].sort());
    });

    offered("twice: one digest", { timeout: 600_000 }, async () => {
      const { report } = await made();
      const again = scratch.at(`again-${name.length}.tar`);
      // The second run of mmdebstrap is its own, and its tar goes through the same scrubbing.
      const second = await imgkitJson(["rootfs", await own(), "--profile", "debian", ...epoch, "-o", again]);
      expect(second.output.digest).toBe(report.output.digest);
      fs.rmSync(again);
    });
  });
}

long()("rootfs mmdebstrap:bookworm, the whole command twice: one digest", { timeout: 900_000 }, async () => {
  const { report } = await bookworm.made();
  const again = await imgkitJson(["rootfs", "mmdebstrap:bookworm", ...epoch, "-o", scratch.at("again.tar")]);
  expect(again.output.digest).toBe(report.output.digest);
});

interface Partition {
  readonly number: number;
  readonly type: string;
  readonly uuid: string;
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

for (const [name, gate, rootfs] of [
  ["the fixture", [] as string[], fixture],
  ["essential", ["mmdebstrap"], essential.made],
] as const) {
  const slug = name.replace(" ", "-");
  const timeout = 600_000;

  describe(`image: ${name}`, () => {
    const layout = scratch.at(`${slug}.oci`);
    const image = once(async () => imgkitJson(["image", (await rootfs()).tar, "-o", `${layout}:v1`, ...epoch]));

    oracle("skopeo", ...gate)("skopeo inspect reads it, with the digests that were printed", { timeout }, async () => {
      const { output, layers } = await image();
      const seen = JSON.parse(run("skopeo", "inspect", `oci:${layout}:v1`));
      expect(seen).toMatchObject({ Digest: output.digest, Created: "2023-11-14T22:13:20Z", Architecture: "amd64", Os: "linux", Layers: [layers[0].digest] });
      const config = JSON.parse(run("skopeo", "inspect", "--config", `oci:${layout}:v1`));
      expect(config.rootfs.diff_ids).toEqual([layers[0].diffId]);
    });

    oracle("skopeo", ...gate)("skopeo copies it to a folder and back, and the manifest is the same", { timeout }, async () => {
      const { output } = await image();
      const folder = scratch.at(`${slug}.dir`);
      const back = scratch.at(`${slug}.back`);
      run("skopeo", "copy", "--preserve-digests", `oci:${layout}:v1`, `dir:${folder}`);
      run("skopeo", "copy", "--preserve-digests", `dir:${folder}`, `oci:${back}:v1`);
      expect(JSON.parse(run("skopeo", "inspect", `oci:${back}:v1`)).Digest).toBe(output.digest);
      expect(await imgkitJson(["verify", `oci:${back}:v1`, "--digest", output.digest])).toMatchObject({ ok: true });
      for (const path of [folder, back]) fs.rmSync(path, { recursive: true });
    });

    oracleRoot("umoci", ...gate)("umoci unpacks it, and the tree equals the source", { timeout }, async () => {
      await image();
      const bundle = scratch.at(`${slug}.bundle`);
      run("umoci", "unpack", "--image", `${layout}:v1`, bundle);
      // Go's archive/tar takes an extended header's record of no value for one that deletes it (POSIX, pax): GNU tar does not.
      const lost = name === "the fixture" ? ["/srv/attributes/empty-value: xattr user.empty (none) and 0x"] : [];
      expect(await lines(await readDirectory(join(bundle, "rootfs")), (await rootfs()).tree)).toEqual(lost);
      fs.rmSync(bundle, { recursive: true });
    });
  });

  describe(`disk: ${name}`, () => {
    const file = scratch.at(`${slug}.raw`);
    const disk = once(async () => imgkitJson(["disk", (await rootfs()).tar, "-o", file, ...epoch]));
    const parts = async (): Promise<[root: Partition, verity: Partition]> => (await disk()).partitions;

    /** A partition as a file of its own. */
    const cut = ({ offset, size }: Partition, as: string): string => {
      run("dd", `if=${file}`, `of=${scratch.at(as)}`, "bs=1M", "iflag=skip_bytes,count_bytes", `skip=${offset}`, `count=${size}`);
      return scratch.at(as);
    };

    oracle("sgdisk", ...gate)("sgdisk -v finds no problem, and makes no table of its own", { timeout }, async () => {
      await disk();
      const { status, stdout, stderr } = spawnSync("sgdisk", ["-v", file], { encoding: "utf8" });
      expect(status).toBe(0);
      expect(stdout).toMatch(/^No problems found/m);
      // A partition ends where its content does.
      const printed = `${stdout}${stderr}`.replaceAll(/Caution: Partition [12] doesn't end on a 2048-sector boundary/g, "");
      expect(printed).not.toMatch(/Creating new GPT|caution|warning|invalid/i);
    });

    oracle("sfdisk", ...gate)("sfdisk -V finds no error, and --json shows the entries that were printed", { timeout }, async () => {
      const { diskGuid } = await disk();
      expect(run("sfdisk", "-V", file)).toMatch(/No errors detected/);
      const { partitiontable: table } = JSON.parse(run("sfdisk", "--json", file));
      expect(table).toMatchObject({ label: "gpt", id: diskGuid.toUpperCase(), sectorsize: 512 });
      const entries = (await parts()).map(({ offset, size, type, uuid, name: label }) => ({
        start: offset / 512,
        size: size / 512,
        type: type.toUpperCase(),
        uuid: uuid.toUpperCase(),
        name: label,
      }));
      expect(table.partitions).toEqual(entries.map((entry) => expect.objectContaining(entry)));
    });

    oracle(...gate)("the partition UUIDs are the two halves of the root hash", { timeout }, async () => {
      const { rootHash } = await disk();
      expect((await parts()).map(({ uuid }) => uuid.replaceAll("-", "")).join("")).toBe(rootHash);
    });

    oracle("veritysetup", "dd", ...gate)("veritysetup verifies the partitions cut out of it with the printed root hash", { timeout }, async () => {
      const { rootHash } = await disk();
      const [root, verity] = await parts();
      const [data, hash] = [cut(root, "root.part"), cut(verity, "verity.part")];
      run("veritysetup", "verify", data, hash, rootHash);
      expect(() => run("veritysetup", "verify", data, hash, `${rootHash.slice(1)}0`)).toThrow();
      for (const path of [data, hash]) fs.rmSync(path);
    });

    oracle("fsck.erofs", "dd", ...gate)("fsck.erofs accepts the root partition", { timeout }, async () => {
      const data = cut((await parts())[0], "root.part");
      run("fsck.erofs", data);
      fs.truncateSync(data, 8192);
      expect(() => run("fsck.erofs", data)).toThrow();
      fs.rmSync(data);
    });

    oracleRoot("mount", "loop", ...gate)("mounted, it equals the tar in all that a tree has", { timeout }, async () => {
      const [root] = await parts();
      const point = scratch.folder(`${slug}.mounted`);
      await retried(() => run("mount", "-t", "erofs", "-o", `loop,ro,offset=${root.offset}`, file, point));
      try {
        expect(await lines(await readDirectory(point), (await rootfs()).tree)).toEqual([]);
      } finally {
        run("umount", point);
      }
    });

    oracleRoot("systemd-dissect", "loop", ...gate)("systemd-dissect says verity yes for the root hash, and not for another", { timeout }, async () => {
      const { rootHash } = await disk();
      const dissect = (hash: string) => JSON.parse(run("systemd-dissect", "--json=short", `--root-hash=${hash}`, file));
      const seen = await retried(() => dissect(rootHash));
      const root = seen.mounts.find(({ designator }: { designator: string }) => designator === "root");
      expect(root).toMatchObject({ verity: "yes", fstype: "erofs", partition_uuid: expect.stringMatching(/^[0-9a-f-]{36}$/) });
      expect(() => dissect(`${rootHash.slice(1)}0`)).toThrow();
    });

    oracle(...gate)("imgkit verify accepts all three against what was printed", { timeout }, async () => {
      const { rootHash } = await disk();
      expect(await imgkitJson(["verify", file, "--root-hash", rootHash])).toMatchObject({ ok: true, findings: [] });
    });
  });
}

/** Loop devices come late, or somebody else takes the one that was free: tries for some seconds. */
async function retried<T>(job: () => T): Promise<T> {
  for (let left = 20; ; left--) {
    try {
      run("losetup", "-f");
      return job();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
}
