import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { oracle } from "../../../test/oracle.ts";
import { makeCertificate, startDockerRegistry } from "../../oci/test/registry/servers.ts";
import { epoch, expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

const scratch = new Scratch("registry");
afterAll(() => scratch.remove());

const layout = scratch.at("oci");
let digest: string;
beforeAll(async () => {
  await writeFixtureTar(scratch.at("in.tar"));
  scratch.folder("app/opt");
  fs.writeFileSync(scratch.at("app/opt/app"), "app\n");
  const image = [
    "image",
    scratch.at("in.tar"),
    scratch.at("app"),
    "-o",
    layout,
    "--tag",
    "app",
    ...epoch,
    "--cmd",
    "/opt/app",
    "--env",
    "A=b",
    "--label",
    "who=me",
    "--json",
  ];
  digest = json(await here(image)).output.digest;
});

const withRegistry = oracle("docker-registry");
const run = (...args: string[]): string => execFileSync(args[0] ?? "", args.slice(1), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

describe("a registry of the field", () => {
  let host: string;
  const start = async (): Promise<string> => {
    host ??= (await startDockerRegistry(scratch.folder("registry") && scratch.at("registry"))).host;
    return host;
  };

  withRegistry("push, then pull, inspect, tags, ls, cat, diff, verify: the digest is the same everywhere", async () => {
    const place = `${await start()}/team/app`;
    const pushed = json(await here(["push", `${layout}:app`, place, "--json"]));
    expect(pushed).toMatchObject({ target: { name: `docker://${place}:app`, digest }, blobs: { copied: 3, present: 0 } });
    const again = json(await here(["push", `oci:${layout}:app`, `${place}:second`, "--json"]));
    expect(again.blobs).toMatchObject({ copied: 0, present: 3, bytes: 0 });
    expect((await here(["tags", place])).stdout.toString()).toBe("app\nsecond\n");
    expect(json(await here(["catalog", host, "--json"])).repositories).toEqual(["team/app"]);
    const copy = scratch.at("pulled");
    expect(json(await here(["pull", `${place}:app`, copy, "--json"]))).toMatchObject({ target: { name: `oci:${copy}:app`, digest } });
    expect(json(await here(["verify", `oci:${copy}:app`, "--digest", digest, "--json"]))).toMatchObject({ ok: true });
    const x = `docker://${place}:app`;
    const verified = json(await here(["verify", x, "--digest", digest, "--json"]));
    expect(verified).toMatchObject({ ok: true, kind: "layout", anchor: "the given digest" });
    expect(verified.verified.map(({ kind }: { kind: string }) => kind).sort()).toEqual(["config", "layer", "layer", "manifest"]);
    expect(json(await here(["verify", x, "--json"])).anchor).toMatch(/what the registry says now/);
    expect((await here(["cat", x, "opt/app"])).stdout.toString()).toBe("app\n");
    expect((await here(["ls", x, "opt"])).stdout.toString()).toContain("/opt/app\n");
    expect(await here(["diff", x, `${layout}:app`])).toMatchObject({ code: 0 });
    const tar = json(await here(["rootfs", x, ...epoch, "-o", scratch.at("back.tar"), "--json"]));
    expect(json(await here(["rootfs", `oci:${layout}:app`, ...epoch, "-o", scratch.at("own.tar"), "--json"])).output.digest).toBe(tar.output.digest);
    expect(json(await here(["verify", x, "--from", scratch.at("in.tar"), "--from", scratch.at("app"), "--json"]))).toMatchObject({ ok: true });
  });

  withRegistry("inspect says what the image says, in words, in JSON and byte for byte", async () => {
    const x = `docker://${await start()}/team/app:app`;
    const document = json(await here(["inspect", x, "--json"]));
    expect(document).toMatchObject({
      digest,
      tag: "app",
      image: { platform: "linux/amd64", settings: { Cmd: ["/opt/app"], Env: ["A=b"], Labels: { who: "me" } } },
    });
    expect(document.image.layers).toHaveLength(2);
    const { stdout } = await here(["inspect", x]);
    for (const line of [`${digest}  ${x}`, '  cmd         ["/opt/app"]', "  env         A=b", "  label       who=me", "  platform    linux/amd64"]) {
      expect(stdout.toString().split("\n")).toContain(line);
    }
    for (const [flag, blob] of [
      ["--raw", digest],
      ["--config", document.image.config.digest],
    ] as const) {
      expect((await here(["inspect", x, flag])).stdout).toEqual(fs.readFileSync(`${layout}/blobs/sha256/${blob.slice(7)}`));
    }
    expect(json(await here(["inspect", `${layout}:app`, "--json"]))).toMatchObject({ digest, image: document.image });
  });

  withRegistry("copy within a registry mounts, to archives and back changes no byte", async () => {
    const place = await start();
    const mounted = json(await here(["copy", `docker://${place}/team/app:app`, `docker://${place}/other/app:x`, "--json"]));
    expect(mounted).toMatchObject({ target: { digest }, blobs: { mounted: 3, bytes: 0 } });
    for (const archive of [`oci-archive:${scratch.at("a.tar")}:app`, `docker-archive:${scratch.at("d.tar")}:team/app:1`]) {
      expect(await here(["copy", `docker://${place}/team/app:app`, archive])).toMatchObject({ code: 0, stderr: "" });
      const own = archive.startsWith("docker-archive:") ? /^the archive's own manifest\.json only/ : /^the layout's own index only/;
      expect(json(await here(["verify", archive, "--json"])), archive).toMatchObject({ ok: true, anchor: expect.stringMatching(own) });
      expect((await here(["cat", archive, "opt/app"])).stdout.toString()).toBe("app\n");
    }
    expect(json(await here(["push", `oci-archive:${scratch.at("a.tar")}:app`, `${place}/third/app:y`, "--json"])).target.digest).toBe(digest);
    // Twice the same bytes, whenever it is written.
    const first = fs.readFileSync(scratch.at("a.tar"));
    expect(await here(["copy", `${layout}:app`, `oci-archive:${scratch.at("a.tar")}:app`])).toMatchObject({ code: 0 });
    expect(fs.readFileSync(scratch.at("a.tar")).equals(first)).toBe(true);
  });

  oracle("docker-registry", "skopeo")("skopeo reads what was pushed and what was archived, and what it copied is read here", async () => {
    const place = await start();
    const theirs = JSON.parse(run("skopeo", "inspect", "--tls-verify=false", `docker://${place}/team/app:app`));
    expect(theirs).toMatchObject({ Digest: digest, Labels: { who: "me" }, Architecture: "amd64" });
    expect(JSON.parse(run("skopeo", "inspect", `docker-archive:${scratch.at("d.tar")}:team/app:1`)).Labels).toEqual({ who: "me" });
    run("skopeo", "copy", "--dest-tls-verify=false", `oci:${layout}:app`, `docker://${place}/skopeo/app:z`);
    expect(json(await here(["inspect", `docker://${place}/skopeo/app:z`, "--json"])).digest).toBe(digest);
    expect(json(await here(["verify", `docker://${place}/skopeo/app:z`, "--json"]))).toMatchObject({ ok: true });
  });

  withRegistry("what is not there is said, and nothing is left behind", async () => {
    const place = await start();
    expectFailure(await here(["pull", `${place}/team/app:none`, scratch.at("none")]), 2, /no such image \(expected none\)/);
    expect(fs.existsSync(scratch.at("none"))).toBe(false);
    expectFailure(await here(["copy", `docker://${place}/team/app:none`, `oci-archive:${scratch.at("none.tar")}`]), 2, /none/);
    expect(fs.existsSync(scratch.at("none.tar"))).toBe(false);
    expectFailure(await here(["tags", `${place}/no/such`]), 2, /no\/such/);
  });

  withRegistry("delete asks for --yes, and deletes", async () => {
    const place = `${await start()}/team/app`;
    expectFailure(await here(["delete", `${place}@${digest}`]), 2, /--yes/);
    expectFailure(await here(["delete", place, "--yes"]), 2, /a tag or a digest/);
    // Debian's distribution 2.8 cannot.
    expectFailure(await here(["delete", `${place}:app`, "--yes"]), 2, /does not delete the tag.*DIGEST_INVALID.*NAME@DIGEST/);
    expect(await here(["delete", `${place}@${digest}`, "--yes"])).toMatchObject({ code: 0 });
    expectFailure(await here(["inspect", `docker://${place}:app`]), 2, /app/);
  });

  withRegistry("the real command pushes, and ends when all is done", async () => {
    const result = await imgkit(["push", `${layout}:app`, `${await start()}/real/app`]);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.toString()).toMatch(new RegExp(`^${digest}  docker://.*/real/app:app  \\(blobs: 3 copied; .*\\)\\n$`));
  });
});

oracle(
  "docker-registry",
  "openssl",
  "htpasswd",
)("a registry with TLS of its own authority and a password: --ca and --authfile, and neither is guessed", async () => {
  const folder = scratch.folder("tls") && scratch.at("tls");
  const { ca, certificate, key } = makeCertificate(folder);
  const htpasswd = run("htpasswd", "-nbB", "user", "secret");
  const { host } = await startDockerRegistry(folder, { tls: { certificate, key }, htpasswd });
  const authfile = scratch.write("auth.json", JSON.stringify({ auths: { [host]: { auth: Buffer.from("user:secret").toString("base64") } } }));
  expectFailure(await here(["push", `${layout}:app`, `${host}/app`]), 3, /certificate|self[- ]signed|unable to verify/i);
  expectFailure(await here(["push", `${layout}:app`, `${host}/app`, "--ca", ca]), 2, /401|credentials|unauthorized|log in/i);
  const pushed = json(await here(["push", `${layout}:app`, `${host}/app`, "--ca", ca, "--authfile", authfile, "--json"]));
  expect(pushed.target.digest).toBe(digest);
  const env = { REGISTRY_AUTH_FILE: authfile };
  expect(json(await here(["inspect", `docker://${host}/app:app`, "--ca", ca, "--json"], { env })).digest).toBe(digest);
  expectFailure(await here(["inspect", `docker://${host}/app:app`, "--ca", scratch.at("gone.pem")], { env }), 2, /gone\.pem/);
});

test("a registry that is not there is the network's failure", async () => {
  expectFailure(await here(["rootfs", "docker://127.0.0.1:1/app", ...epoch, "-o", scratch.at("x.tar")]), 3, /127\.0\.0\.1:1/);
}, 60_000);

describe("names", () => {
  test.each([
    [["pull", "docker://Upper/case", "x"], /lowercase/],
    [["copy", "oci:nowhere", "x"], /nowhere/],
    [["copy", "oci:nowhere", "containers-storage:x"], /nowhere|not a place/],
    [["push", `${layout}:app`, `localhost:1/app@sha256:${"0".repeat(64)}`], /under a digest/],
    [["copy", `${layout}:app`, `docker-archive:${scratch.at("x.tar")}`], /needs a name/],
    [["copy", `${layout}:app`, "dir:x"], /not a place/],
    [["copy", `${layout}:app`, "docker-daemon:x:1"], /not a place/],
    [["inspect", `${layout}:app`, "--raw", "--config"], /two outputs/],
    [["inspect", `${layout}:app`, "--referrers"], /registries/],
    [["copy", `${layout}:app`, "x", "--mirror", "a"], /REGISTRY=LOCATION/],
    [["copy", `${layout}:app`, "x", "--parallel", "0"], /from 1 to 999/],
    [["tags", "::"], /./],
  ])("%j is refused", async (args, cause) => {
    expectFailure(await here(args), 2, cause);
  });
});

test("DIR:TAG is a folder and a tag for what writes, too, whatever the folder is called", async () => {
  expect(await imgkit(["copy", "oci:oci:app", "copied:second"], { cwd: scratch.path })).toMatchObject({ code: 0, stderr: "" });
  expect(json(await here(["inspect", `oci:${scratch.at("copied")}:second`, "--json"])).digest).toBe(digest);
});

test("an archive that has no folder for its temporary files is the system's failure, and says which", async () => {
  const env = { TMPDIR: scratch.at("gone") };
  expectFailure(
    await imgkit(["copy", `${layout}:app`, `oci-archive:${scratch.at("none.tar")}`], { env }),
    3,
    /gone: a temporary folder cannot be made.*TMPDIR/,
  );
  expect(fs.existsSync(scratch.at("none.tar"))).toBe(false);
});

test("inspect says in words which ports, volumes and signal an image has", async () => {
  const x = `oci:${scratch.at("said")}`;
  expect(await here(["image", scratch.at("app"), "-o", x, "--expose", "80/tcp", "--stop-signal", "SIGINT", ...epoch])).toMatchObject({ code: 0 });
  const { stdout } = await here(["inspect", x]);
  expect(stdout.toString()).toMatch(/^ {2}expose {6}80\/tcp\n {2}stop signal SIGINT$/m);
});

test("an index that nobody chose from says how to choose", async () => {
  const x = `oci:${scratch.at("multi")}`;
  for (const platform of ["linux/amd64", "linux/arm64"])
    expect(await here(["image", scratch.at("app"), "-o", x, "--index", "--platform", platform, ...epoch])).toMatchObject({ code: 0 });
  expectFailure(await here(["ls", x]), 2, /linux\/amd64, linux\/arm64\)\. Name one: --platform OS\/ARCH\./);
});

test("an image that stands alone is refused under another platform than its own, by all who take --platform", async () => {
  const x = `oci:${layout}:app`;
  for (const args of [
    ["inspect", x],
    ["inspect", x, "--raw"],
    ["ls", x],
    ["cat", x, "opt/app"],
    ["copy", x, `oci:${scratch.at("wrong")}`],
    ["copy", x, `oci:${scratch.at("wrong")}`, "--platform", "linux/amd64"],
    ["extract", x, scratch.at("wrong")],
    ["verify", x, "--from", scratch.at("app"), ...epoch],
  ])
    expectFailure(await here([...args, "--platform", "linux/arm64"]), 2, /another platform.*expected linux\/arm64, found linux\/amd64/);
  expect(fs.existsSync(scratch.at("wrong"))).toBe(false);
  expect(await here(["copy", x, `oci:${scratch.at("right")}`, "--platform", "linux/amd64"])).toMatchObject({ code: 0 });
});

oracle("podman")("podman load gives a docker-archive the name that it was written under", async () => {
  const storage = ["--root", scratch.at("podman"), "--runroot", scratch.at("podman-run"), "--storage-driver", "vfs"];
  for (const [name, loaded] of [
    ["team/app:1", "docker.io/team/app:1"],
    ["app", "docker.io/library/app:latest"],
  ]) {
    const file = scratch.at("named.tar");
    expect(await here(["copy", `${layout}:app`, `docker-archive:${file}:${name}`])).toMatchObject({ code: 0 });
    expect(run("podman", ...storage, "load", "-q", "-i", file)).toContain(`${loaded}\n`);
  }
});

test("of an index --platform chooses the image, for a tar as for what reads one; without it several are a question", async () => {
  const index = scratch.at("index");
  for (const [arch, source] of [
    ["amd64", "in.tar"],
    ["arm64", "app"],
  ] as const) {
    expect(await here(["image", scratch.at(source), "-o", index, "--tag", "both", "--index", "--platform", `linux/${arch}`, ...epoch])).toMatchObject({
      code: 0,
    });
  }
  const rootfs = ["rootfs", `oci:${index}:both`, ...epoch, "-o", scratch.at("one.tar")];
  expectFailure(await here(rootfs), 2, /several platforms/);
  expect(await here([...rootfs, "--platform", "linux/arm64"])).toMatchObject({ code: 0 });
  expect((await here(["ls", "-R", scratch.at("one.tar")])).stdout.toString()).toMatch(/^\/\n\/opt\n\/opt\/app\n$/);
  expect((await here(["ls", "-R", `oci:${index}:both`, "--platform", "linux/arm64"])).stdout.toString()).toMatch(/\/opt\/app/);
});
