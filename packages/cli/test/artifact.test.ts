import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { startDockerRegistry } from "../../oci/test/registry/servers.ts";
import { epoch, expectFailure, here, json, Scratch } from "./cli.ts";

const scratch = new Scratch("artifact");
afterAll(() => scratch.remove());

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
beforeAll(() => {
  scratch.write("sbom.json", '{"spdxVersion":"SPDX-2.3"}');
  scratch.write("notes.txt", "hello\n");
  scratch.folder("chart/templates");
  scratch.write("chart/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.2.3+build\ndescription: a test\n");
  scratch.write("chart/templates/a.yaml", "kind: ConfigMap\n");
});

describe("in a layout", () => {
  test("files go in and come out, each under its name; the same files give the same digest", async () => {
    const layout = scratch.at("layout");
    const files = [`${scratch.at("sbom.json")}:application/spdx+json`, scratch.at("notes.txt")];
    const args = ["artifact", "push", `oci:${layout}:files`, ...files, "--artifact-type", "application/vnd.example.files", "--annotation", "who=me", "--json"];
    const pushed = json(await here(args));
    expect(pushed).toMatchObject({
      artifactType: "application/vnd.example.files",
      files: [
        { title: "sbom.json", mediaType: "application/spdx+json" },
        { title: "notes.txt", mediaType: "application/octet-stream" },
      ],
    });
    expect(json(await here(args)).target.digest).toBe(pushed.target.digest);
    const pulled = json(await here(["artifact", "pull", `oci:${layout}:files`, scratch.at("out"), "--json"]));
    expect(pulled.digest).toBe(pushed.target.digest);
    expect(scratch.list("out")).toEqual(["notes.txt", "sbom.json"]);
    expect(fs.readFileSync(scratch.at("out/notes.txt"), "utf8")).toBe("hello\n");
    // Not over what is there.
    expectFailure(await here(["artifact", "pull", `oci:${layout}:files`, scratch.at("out")]), 2, /out/);
    expect(json(await here(["verify", `oci:${layout}:files`, "--json"]))).toMatchObject({ ok: true });
  });

  test("a file that is not what the manifest says is not written", async () => {
    const layout = scratch.at("bad");
    json(await here(["artifact", "push", `oci:${layout}:x`, scratch.at("notes.txt"), "--artifact-type", "text/plain", "--json"]));
    fs.writeFileSync(scratch.at("bad/blobs/sha256", sha256(Buffer.from("hello\n")).slice(7)), "hallo\n");
    expectFailure(await here(["artifact", "pull", `oci:${layout}:x`, scratch.at("never")]), 2, /not what the manifest says/);
    expect(fs.existsSync(scratch.at("never"))).toBe(false);
  });

  test("a chart is the same archive whenever it is packed, below its own name, under its version as a tag", async () => {
    const made = json(await here(["artifact", "helm", scratch.at("chart"), `oci:${scratch.at("charts")}`, ...epoch, "--json"]));
    expect(made.target.name).toMatch(/:1\.2\.3_build$/);
    fs.utimesSync(scratch.at("chart/Chart.yaml"), 2_000_000_000, 2_000_000_000);
    expect(json(await here(["artifact", "helm", scratch.at("chart"), `oci:${scratch.at("again")}`, ...epoch, "--json"])).target.digest).toBe(
      made.target.digest,
    );
    const [chart] = made.files;
    const tar = gunzipSync(fs.readFileSync(scratch.at("charts/blobs/sha256", chart.digest.slice(7))));
    fs.writeFileSync(scratch.at("chart.tar"), tar);
    expect(execFileSync("tar", ["-tf", scratch.at("chart.tar")], { encoding: "utf8" })).toMatch(/^app\/?\napp\/Chart\.yaml\n/);
  });

  test.each([
    [["artifact", "push", "docker-archive:x", "f", "--artifact-type", "a/b"], /not a place/],
    [["artifact", "push", "oci:x", "f"], /--artifact-type/],
    [["artifact", "push", "oci:x", "gone", "--artifact-type", "a/b"], /gone/],
    [["artifact", "helm", ".", "oci:x", ...epoch], /Chart\.yaml/],
  ])("%j is refused, and leaves nothing", async (args, cause) => {
    expectFailure(await here(args), 2, cause);
    expect(fs.existsSync("x")).toBe(false);
  });
});

oracle("docker-registry", "skopeo")("in a registry: listed with what refers to an image, copied with it, and read by skopeo", async () => {
  const { host } = await startDockerRegistry(scratch.folder("registry") && scratch.at("registry"));
  const image = json(await here(["image", scratch.at("chart"), "-o", scratch.at("image"), "--tag", "app", ...epoch, "--json"])).output.digest;
  json(await here(["push", `${scratch.at("image")}:app`, `${host}/app:1`, "--json"]));
  const sbom = [`${scratch.at("sbom.json")}:application/spdx+json`, "--artifact-type", "application/spdx+json", "--subject", "1"];
  const pushed = json(await here(["artifact", "push", `docker://${host}/app`, ...sbom, "--json"]));
  expect(pushed.subject.digest).toBe(image);
  const seen = json(await here(["inspect", `docker://${host}/app:1`, "--referrers", "--json"]));
  expect(seen.referrers).toMatchObject([{ digest: pushed.target.digest, artifactType: "application/spdx+json" }]);
  const copied = json(await here(["copy", `docker://${host}/app:1`, `docker://${host}/other:1`, "--referrers", "--json"]));
  expect(copied.referrers).toHaveLength(1);
  expect(json(await here(["inspect", `docker://${host}/other:1`, "--referrers", "--json"])).referrers).toHaveLength(1);
  json(await here(["artifact", "pull", `docker://${host}/other@${pushed.target.digest}`, scratch.at("sboms"), "--json"]));
  expect(fs.readFileSync(scratch.at("sboms/sbom.json"), "utf8")).toContain("SPDX-2.3");
  const chart = json(await here(["artifact", "helm", scratch.at("chart"), `docker://${host}/charts`, ...epoch, "--json"]));
  expect(chart.target.name).toBe(`docker://${host}/charts/app:1.2.3_build`);
  const raw = execFileSync("skopeo", ["inspect", "--raw", "--tls-verify=false", `docker://${host}/charts/app:1.2.3_build`]);
  expect(sha256(raw)).toBe(chart.target.digest);
  expectFailure(await here(["copy", `${scratch.at("image")}:app`, `docker://${host}/x`, "--referrers"]), 2, /from registries/);
});
