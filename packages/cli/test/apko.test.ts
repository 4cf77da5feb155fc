import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { realData, withRealData } from "../../../test/apk-data.ts";
import { oracleRoot } from "../../../test/oracle.ts";
import { entry, indexFile, makeApk, makeSigner, signed } from "../../apk/test/support.ts";
import { epoch, expectFailure, finished, here, imgkit, json, Scratch, start } from "./cli.ts";

const scratch = new Scratch("apko");
afterAll(() => scratch.remove());

/** A signed repository of two packages, and configurations beside it; relative paths start where the command runs. */
beforeAll(() => {
  const signer = makeSigner("test.rsa.pub");
  scratch.write("test.rsa.pub", signer.pem);
  scratch.folder("repo/x86_64");
  const entries = ["app", "lib"].map((name) => {
    const depends = name === "app" ? ["lib"] : [];
    const { bytes, checksum } = makeApk({
      name,
      signer,
      files: { "usr/": "", "usr/bin/": "", [`usr/bin/${name}`]: name },
      change: (t) => t.replace(/depend = .*\n/g, ""),
    });
    fs.writeFileSync(scratch.at("repo/x86_64", `${name}-1.0-r0.apk`), bytes);
    return entry({ name, checksum, depends });
  });
  fs.writeFileSync(scratch.at("repo/x86_64/APKINDEX.tar.gz"), signed(indexFile(entries), signer));
  scratch.write(
    "apko.yaml",
    "contents:\n  keyring: [test.rsa.pub]\n  repositories: [repo]\n  packages: [app]\narchs: [x86_64]\npaths:\n  - {path: /srv, type: directory, permissions: 0750}\n",
  );
  scratch.write("two.yaml", "contents: {packages: [app]}\narchs: [x86_64, aarch64]\n");
});

withRealData("the layer of apko's own example: its digest, with --tar-form apko; the same tree without", async () => {
  const options = [
    "--arch",
    "x86_64",
    "--epoch",
    "0",
    "--annotation",
    "org.opencontainers.image.title=Title",
    "--annotation",
    "org.opencontainers.image.vendor=Vendor",
  ];
  const [go, own] = [scratch.at("go.tar"), scratch.at("own.tar")];
  const result = await imgkit(["rootfs", "apko:testdata/apko.yaml", "--tar-form", "apko", ...options, "-o", go], { cwd: realData });
  expect(result).toMatchObject({ code: 0, stderr: "" });
  expect(result.stdout.toString()).toMatch(/^sha256:20f698463c2755b6dc42b7d07e959ed7455a06e7367d507e829a315898f21a01 /);
  expect(await imgkit(["rootfs", "apko:testdata/apko.yaml", ...options, "-o", own], { cwd: realData })).toMatchObject({ code: 0 });
  const difference = await here(["diff", go, own, "--json"]);
  expect(JSON.parse(difference.stdout.toString()).differences.filter(({ path }: { path: string }) => path !== "/" && path !== "")).toEqual([]);
  expectFailure(await imgkit(["rootfs", "apko:testdata/apko.yaml", "--epoch", "0", "-o", own], { cwd: realData }), 2, /--arch ARCH.*found amd64, arm64/);
});

test("a configuration is a source like any other: tar, image, disk, ls; 0750 is octal, as apko reads it", async () => {
  const run = async (...args: string[]): Promise<string> => {
    const result = await imgkit(args, { cwd: scratch.path });
    expect(result).toMatchObject({ code: 0 });
    return result.stdout.toString();
  };
  const first = await run("rootfs", "apko:apko.yaml", ...epoch, "-o", "a.tar", "--record", "a.json");
  expect((await run("rootfs", "apko:apko.yaml", ...epoch, "-o", "b.tar")).split(" ")[0]).toBe(first.split(" ")[0]);
  expect(await run("ls", "-l", "apko:apko.yaml", "srv/..", ...epoch)).toMatch(/drwxr-x--- 0\/0 .* \/?srv/);
  expect(await run("cat", "apko:apko.yaml", "usr/bin/lib", ...epoch)).toBe("lib");
  await run("image", "apko:apko.yaml", ...epoch, "-o", "oci");
  fs.appendFileSync(
    scratch.at("apko.yaml"),
    "entrypoint: {command: /usr/bin/app 'two words'}\ncmd: --help\nenvironment: {A: b}\nwork-dir: /srv\naccounts: {run-as: '7'}\nvolumes: [/data]\nannotations: {who: me}\n",
  );
  await run("image", "apko:apko.yaml", ...epoch, "-o", "oci:set", "--env", "PATH=/bin", "--user", "8");
  const { image } = JSON.parse(await run("inspect", "oci:set", "--json"));
  expect(image).toMatchObject({
    platform: "linux/amd64",
    annotations: { who: "me" },
    settings: {
      Entrypoint: ["/usr/bin/app", "two words"],
      Cmd: ["--help"],
      Env: ["A=b", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "PATH=/bin"],
      WorkingDir: "/srv",
      User: "8",
      Volumes: { "/data": {} },
    },
  });
  await run("disk", "apko:apko.yaml", ...epoch, "-o", "disk.raw");
  expect((await run("cat", "disk.raw", "usr/bin/app")).toString()).toBe("app");
  expect(JSON.parse(fs.readFileSync(scratch.at("a.json"), "utf8")).inputs[0]).toMatchObject({ name: "apko:apko.yaml", kind: "file" });
});

oracleRoot("umoci", "runc", "busybox-static")(
  "an image of a package with a program runs: its links, words, environment, folder and user",
  async () => {
    const signer = makeSigner("run.rsa.pub");
    scratch.write("run.rsa.pub", signer.pem);
    scratch.folder("run/x86_64");
    const { bytes, checksum } = makeApk({
      name: "busybox",
      signer,
      files: { "etc/busybox-paths.d/busybox": "/bin/sh\n/usr/bin/id\n", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" },
      programs: { "bin/busybox": fs.readFileSync("/bin/busybox") },
      change: (t) => t.replace(/depend = .*\n/g, ""),
    });
    fs.writeFileSync(scratch.at("run/x86_64/busybox-1.0-r0.apk"), bytes);
    fs.writeFileSync(scratch.at("run/x86_64/APKINDEX.tar.gz"), signed(indexFile([entry({ name: "busybox", checksum })]), signer));
    const settings =
      "entrypoint:\n  command: /bin/sh -c 'echo $WHO at $(pwd) is $(id -u):$(id -g), $0 $1'\ncmd: it runs\nenvironment: {WHO: app}\nwork-dir: /home/app\n" +
      "accounts:\n  run-as: app\n  users: [{username: app, uid: 1000}]\n  groups: [{groupname: app, gid: 1000}]\n";
    scratch.write("run.yaml", `contents: {keyring: [run.rsa.pub], repositories: [run], packages: [busybox]}\narchs: [x86_64]\n${settings}`);
    const made = await imgkit(["image", "apko:run.yaml", ...epoch, "-o", "run-oci:v1"], { cwd: scratch.path });
    expect(made).toMatchObject({ code: 0, stderr: expect.stringContaining("recorded, and not run") });
    const bundle = scratch.at("bundle");
    execFileSync("umoci", ["unpack", "--image", `${scratch.at("run-oci")}:v1`, bundle], { stdio: "ignore" });
    // The resources of the machine that tests are not the image's, and there is no terminal.
    const config = JSON.parse(fs.readFileSync(`${bundle}/config.json`, "utf8"));
    delete config.process.rlimits;
    config.process.terminal = false;
    fs.writeFileSync(`${bundle}/config.json`, JSON.stringify(config));
    const name = `imgkit-apko-${process.pid}`;
    const printed = execFileSync("runc", ["--root", scratch.at("runc"), "run", "--bundle", bundle, name], { encoding: "utf8" });
    expect(printed).toBe("app at /home/app is 1000:1000, it runs\n");
  },
  60_000,
);

test("a lock: written, built from with the index gone, and refused for another configuration; a build file names it", async () => {
  const at = (...args: string[]) => imgkit(args, { cwd: scratch.path });
  scratch.write("locked.yaml", "contents:\n  keyring: [test.rsa.pub]\n  repositories: [repo]\n  packages: [app]\narchs: [x86_64]\n");
  expect(await at("lock", "apko:locked.yaml", "-o", "apko.lock.json")).toMatchObject({ code: 0, stderr: "" });
  const plain = await at("rootfs", "apko:locked.yaml", ...epoch, "-o", "plain.tar");
  fs.renameSync(scratch.at("repo/x86_64/APKINDEX.tar.gz"), scratch.at("index"));
  try {
    expectFailure(await at("rootfs", "apko:locked.yaml", ...epoch, "-o", "x.tar"), 2, /APKINDEX/);
    const locked = await at("rootfs", "apko:locked.yaml", "--lockfile", "apko.lock.json", ...epoch, "-o", "locked.tar");
    expect(locked.stdout.toString().split(" ")[0]).toBe(plain.stdout.toString().split(" ")[0]);
    scratch.write(
      "image.yaml",
      "imgkit: build/1\nsource: apko:locked.yaml\nlock: apko.lock.json\narch: x86_64\nepoch: 1700000000\noutputs: {tar: built.tar}\n",
    );
    expect((await at("build", "image.yaml")).stdout.toString().split(" ")[0]).toBe(plain.stdout.toString().split(" ")[0]);
  } finally {
    fs.renameSync(scratch.at("index"), scratch.at("repo/x86_64/APKINDEX.tar.gz"));
  }
  fs.appendFileSync(scratch.at("locked.yaml"), "cmd: x\n");
  expectFailure(
    await at("rootfs", "apko:locked.yaml", "--lockfile", "apko.lock.json", ...epoch, "-o", "x.tar"),
    2,
    /the lock is of another configuration.*Write it again/,
  );
});

test.each(["SIGKILL", "SIGINT"] as const)("a run that %s ends in the middle of a package is gone on with by the next, with what is there", async (signal) => {
  const ranges: (string | undefined)[] = [];
  let halfway = (): void => undefined;
  const server = createServer((request, response) => {
    const body = fs.readFileSync(scratch.at(request.url?.slice(1) ?? ""));
    const tag = `"${createHash("sha256").update(body).digest("hex")}"`;
    const asked = request.headers["if-range"] === tag ? request.headers.range : undefined;
    const start = Number(/^bytes=([0-9]+)-$/.exec(asked ?? "")?.[1] ?? 0);
    const range = start === 0 ? {} : { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` };
    response.writeHead(start === 0 ? 200 : 206, { etag: tag, "content-length": body.length - start, ...range });
    if (request.url !== "/repo/x86_64/app-1.0-r0.apk") return response.end(body);
    ranges.push(asked);
    // The first time the rest never comes.
    if (ranges.length > 1) response.end(body.subarray(start));
    else response.write(body.subarray(0, 500), () => halfway());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cache = scratch.at(`cache-${signal}`);
  scratch.write("remote.yaml", `contents: {keyring: ["${host}/test.rsa.pub"], repositories: ["${host}/repo"], packages: [app]}\narchs: [x86_64]\n`);
  const args = ["rootfs", "apko:remote.yaml", ...epoch, "--cache", cache, "-o", "remote.tar"];
  const partial = (): number[] => fs.readdirSync(`${cache}/apk/partial`).map((name) => fs.statSync(`${cache}/apk/partial/${name}`).size);
  try {
    const half = new Promise<void>((resolve) => {
      halfway = resolve;
    });
    const child = start(args, { cwd: scratch.path });
    const end = finished(child);
    await half;
    await vi.waitUntil(() => partial().includes(500), { timeout: 10_000 });
    child.kill(signal);
    await end;
    expect(partial()).toEqual([500]);
    expect(await imgkit(args, { cwd: scratch.path })).toMatchObject({ code: 0 });
    expect(ranges).toEqual([undefined, "bytes=500-"]);
    expect(partial()).toEqual([]);
    const remote = fs.readFileSync(scratch.at("remote.tar"));
    expect(await imgkit([...args, "--offline"], { cwd: scratch.path })).toMatchObject({ code: 0 });
    expect(ranges).toHaveLength(2);
    expect(fs.readFileSync(scratch.at("remote.tar")).equals(remote)).toBe(true);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("what a configuration includes is part of it, of its lock, and of the record; relative to where the command runs", async () => {
  const at = (...args: string[]) => imgkit(args, { cwd: scratch.path });
  scratch.write("base.yaml", "contents:\n  keyring: [test.rsa.pub]\n  repositories: [repo]\n  packages: [lib]\ncmd: base\n");
  scratch.write("top.yaml", "include: base.yaml\ncontents: {packages: [app]}\narchs: [x86_64]\n");
  expect(await at("image", "apko:top.yaml", ...epoch, "-o", "included:v1", "--record", "included.json")).toMatchObject({ code: 0 });
  const { image } = json(await at("inspect", "included:v1", "--json"));
  expect(image.settings.Cmd).toEqual(["base"]);
  const digest = createHash("sha256")
    .update(fs.readFileSync(scratch.at("top.yaml")))
    .update(fs.readFileSync(scratch.at("base.yaml")));
  const hash = digest.digest();
  expect(JSON.parse(fs.readFileSync(scratch.at("included.json"), "utf8")).inputs[0]).toMatchObject({ digest: `sha256:${hash.toString("hex")}` });
  expect(await at("lock", "apko:top.yaml", "-o", "included.lock.json")).toMatchObject({ code: 0 });
  const lock = JSON.parse(fs.readFileSync(scratch.at("included.lock.json"), "utf8"));
  expect(lock.config).toEqual({ name: "top.yaml", checksum: `sha256-${hash.toString("base64")}` });
  expect(lock.contents.packages.map(({ name }: { name: string }) => name)).toEqual(["lib", "app"]);
  fs.appendFileSync(scratch.at("base.yaml"), "work-dir: /srv\n");
  expectFailure(await at("rootfs", "apko:top.yaml", "--lockfile", "included.lock.json", ...epoch, "-o", "x.tar"), 2, /the lock is of another configuration/);
});

describe("what is wrong is named", () => {
  const fails = async (text: string, cause: RegExp): Promise<void> => {
    scratch.write("bad.yaml", text);
    expectFailure(await imgkit(["rootfs", "apko:bad.yaml", ...epoch, "-o", "bad.tar"], { cwd: scratch.path }), 2, cause);
    expect(fs.existsSync(scratch.at("bad.tar"))).toBe(false);
  };

  test("a file that is no YAML, that is not there, or an unknown member", async () => {
    await fails("contents: [", /bad\.yaml:\d+:\d+/);
    await fails("contens: {}\narchs: [x86_64]\n", /field contens/);
    await fails("include: gone.yaml\narchs: [x86_64]\n", /gone\.yaml/);
    await fails("archs: [x86_64]\nlayering: {strategy: size}\n", /layering\.strategy; expected origin/);
    expectFailure(await here(["rootfs", `apko:${scratch.at("gone.yaml")}`, ...epoch, "-o", scratch.at("x.tar")]), 2, /gone\.yaml/);
  });

  test("packages that cannot be had, with who asks for them", async () => {
    await fails(
      "contents: {keyring: [test.rsa.pub], repositories: [repo], packages: [app, gone]}\narchs: [x86_64]\n",
      /gone is asked for, and cannot be had: nothing provides gone/,
    );
    await fails("contents: {keyring: [test.rsa.pub], repositories: [nowhere], packages: [app]}\narchs: [x86_64]\n", /nowhere/);
    await fails("contents: {repositories: [repo], packages: [app]}\narchs: [x86_64]\n", /signed by no key that is trusted/);
  });
});
