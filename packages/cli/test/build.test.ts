import fs from "node:fs";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeFixtureTar } from "../../../fixtures/src/index.node.ts";
import { pseudoRandomBytes } from "../../../fixtures/src/index.ts";
import { makeKernel, makePe } from "../../disk/test/pe-helpers.ts";
import { diskMembers, imageMembers, type Members, sections, treeMembers } from "../src/build/members.ts";
import { parseBuildFile } from "../src/build/read.ts";
import { buildSchema } from "../src/build/schema.ts";
import { makeProgram } from "../src/program.ts";
import { epoch, expectFailure, here, imgkit, json, Scratch } from "./cli.ts";

const scratch = new Scratch("build");
afterAll(() => scratch.remove());

const whole = `# A whole build file.
imgkit: build/1
source: in.tar
epoch: 1700000000
tree:
  overlays: [over]
  add: {etc/motd: motd}
  owner: "0:0"
  mode-clear: "022"
  exclude: [home/**]
image:
  entrypoint: [/bin/app, "--serve now"]
  cmd: [--help]
  env: {LANG: C.UTF-8, EMPTY: ""}
  labels: {who: "=me"}
  level: fast
disk:
  seed: 6a4e1c5e-0000-4000-8000-000000000001
outputs:
  tar: out.tar
  mtree: out.mtree
  oci: oci:app
  disk: out.raw
  record: out.json
`;

const file = scratch.at("image.yaml");
beforeAll(async () => {
  await writeFixtureTar(scratch.at("in.tar"));
  scratch.folder("over/opt");
  fs.writeFileSync(scratch.at("over/opt/app"), "app\n");
  scratch.write("motd", "hello\n");
  scratch.write("image.yaml", whole);
});

test("each output is what the command of its own makes, from one reading of the source", async () => {
  const built = json(await here(["build", file, "--json"]));
  const tree = ["--overlay", scratch.at("over"), "--add", `etc/motd=${scratch.at("motd")}`, "--owner", "0:0", "--mode-clear", "022", "--exclude", "home/**"];
  const source = [scratch.at("in.tar"), ...epoch, ...tree, "--json"];
  const settings = [
    "--entrypoint",
    '["/bin/app","--serve now"]',
    "--cmd=--help",
    "--env",
    "LANG=C.UTF-8",
    "--env",
    "EMPTY=",
    "--label",
    "who==me",
    "--level",
    "fast",
  ];
  const seed = "6a4e1c5e-0000-4000-8000-000000000001";
  const tar = json(await here(["rootfs", ...source, "-o", scratch.at("own.tar"), "--mtree", scratch.at("own.mtree")]));
  const image = json(await here(["image", ...source, ...settings, "-o", scratch.at("own")]));
  const disk = json(await here(["disk", ...source, "--seed", seed, "-o", scratch.at("own.raw")]));
  const { outputs } = built;
  expect([outputs.tar.output.digest, outputs.oci.output.digest, outputs.disk.output.digest]).toEqual([
    tar.output.digest,
    image.output.digest,
    disk.output.digest,
  ]);
  expect(outputs.disk.rootHash).toBe(disk.rootHash);
  expect(fs.readFileSync(scratch.at("out.mtree"))).toEqual(fs.readFileSync(scratch.at("own.mtree")));
  const record = JSON.parse(fs.readFileSync(scratch.at("out.json"), "utf8"));
  expect(record).toMatchObject({ command: "build", arguments: ["build", file, "--json"], epoch: 1_700_000_000 });
  expect(record.inputs.map(({ name }: { name: string }) => name)).toEqual([file, scratch.at("in.tar"), scratch.at("over"), scratch.at("motd")]);
  expect(record.outputs.map(({ digest }: { digest: string }) => digest)).toEqual([tar.output.digest, image.output.digest, disk.output.digest]);
});

test("paths are relative to the file, outputs to --output-dir; --only makes one; --epoch wins over the file", async () => {
  const out = scratch.folder("elsewhere");
  const result = await imgkit(["build", "image.yaml", "--output-dir", out, "--only", "tar", "--epoch", "1600000000"], { cwd: scratch.path });
  expect(result).toMatchObject({ code: 0, stderr: "" });
  expect(fs.readdirSync(out)).toEqual(["out.tar"]);
  const [digest] = result.stdout.toString().split(" ");
  expect(json(await here(["build", file, "--output-dir", out, "--only", "tar", "--json"])).outputs.tar.output.digest).not.toBe(digest);
  expectFailure(await here(["build", scratch.write("no-tar.yaml", whole.replace("  tar: out.tar\n", "")), "--only", "tar"]), 2, /does not make this output/);
});

test("what boots a disk is given in the file, relative to it, and named in the record", async () => {
  for (const [name, bytes] of [
    ["kernel", makeKernel()],
    ["stub", makePe()],
    ["initrd", pseudoRandomBytes(1, 5000)],
  ] as const)
    scratch.write(name, bytes);
  const parts = "disk:\n  kernel: ./kernel\n  stub: ./stub\n  initrds: [./initrd]\n  cmdline: console=ttyS0 quiet\n  var: 8M\n";
  const boots = scratch.write("boots.yaml", `imgkit: build/1\nsource: in.tar\nepoch: 1700000000\n${parts}outputs:\n  disk: boots.raw\n  record: boots.json\n`);
  const { outputs } = json(await here(["build", boots, "--json"]));
  expect(outputs.disk.esp.commandLine).toBe(`roothash=${outputs.disk.rootHash} console=ttyS0 quiet`);
  const { inputs } = JSON.parse(fs.readFileSync(scratch.at("boots.json"), "utf8"));
  expect(inputs.map(({ name }: { name: string }) => name)).toEqual([boots, ...["in.tar", "kernel", "stub", "initrd"].map((name) => scratch.at(name))]);
  expect(json(await here(["verify", scratch.at("boots.raw"), "--from", boots, "--json"])).ok).toBe(true);
});

test("what was published is recomputed from the build file", async () => {
  const out = scratch.folder("published");
  expect(await here(["build", file, "--output-dir", out])).toMatchObject({ code: 0, stderr: "" });
  for (const [x, kind] of [
    ["out.tar", "tar"],
    ["oci:app", "layout"],
    ["out.raw", "disk"],
  ] as const) {
    const document = json(await here(["verify", `${out}/${x}`, "--from", file, "--json"]));
    expect(document).toMatchObject({ ok: true, kind, anchor: expect.stringContaining("from which it was made anew") });
  }
  const other = scratch.write("other.yaml", whole.replace("cmd: [--help]", "cmd: [--halp]"));
  const result = await here(["verify", `${out}/oci:app`, "--from", other]);
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(/not what .*other\.yaml gives \(expected sha256:[0-9a-f]{64}, found sha256:/);
});

test("a step that fails says why, and the run has its exit code", async () => {
  const bad = scratch.write("bad.yaml", whole.replace("in.tar", "gone.tar"));
  expectFailure(await here(["build", bad]), 2, /gone\.tar/);
  const { stdout } = await here(["build", bad, "--json"]);
  expect(JSON.parse(stdout.toString()).error.code).toBe("NOT_FOUND");
});

test("without an epoch anywhere it stops", async () => {
  const none = scratch.write("none.yaml", whole.replace("epoch: 1700000000\n", ""));
  expectFailure(await here(["build", none]), 2, /no epoch is given/);
});

describe("a lock of the source", () => {
  const lock = (source: string): string =>
    JSON.stringify({
      schema: "imgkit.lock/1",
      source,
      tool: { name: "mmdebstrap", version: "1", arguments: [] },
      releases: [],
      indices: [],
      packages: [],
      absent: [],
    });
  const locked = whole.replace("source: in.tar", "source: mmdebstrap:bookworm\nlock: image.lock.json");

  test("of another source, or not written yet, is refused with what to do", async () => {
    const path = scratch.write("locked.yaml", locked);
    expectFailure(await here(["build", path]), 2, /there is no such lock.*imgkit lock FILE\.yaml/);
    scratch.write("image.lock.json", lock("mmdebstrap:trixie"));
    expectFailure(await here(["build", path]), 2, /expected mmdebstrap:bookworm, found mmdebstrap:trixie/);
  });

  test("imgkit lock FILE.yaml asks for its place", async () => {
    expectFailure(await here(["lock", file]), 2, /there is no place for the lock.*lock: FILE/);
  });
});

// Each line that is wrong is named: line and column, the field, what was expected and found.
const refused: readonly (readonly [name: string, change: (text: string) => string, cause: RegExp])[] = [
  ["an unknown key at the top", (t) => t.replace("source:", "sauce:"), /:3:1: a key that build\/1 does not have .*found sauce/],
  ["an unknown key of a section", (t) => t.replace("  cmd:", "  comand:"), /:13:3: a key .*field image; expected one of platform, .*found comand/],
  ["a key that stands twice", (t) => t.replace("  cmd:", "  entrypoint: [a]\n  cmd:"), /:13:\d+: Map keys must be unique/],
  ["a tag", (t) => t.replace("in.tar", "!!js/function in.tar"), /:3:9: Unresolved tag/],
  ["an alias", (t) => t.replace("source: in.tar", "source: &a in.tar").replace("  tar: out.tar", "  tar: *a"), /:20:8: not a text .*found an alias/],
  ["a number where YAML and octal disagree", (t) => t.replace('"022"', "022"), /:9:15: not a text .*found 22\).* Put it in quotes/],
  ["a text for the epoch", (t) => t.replace("1700000000", '"1700000000"'), /:4:8: not a number of seconds/],
  ["a choice that is none", (t) => t.replace("level: fast", "level: best"), /:16:10: not one of the choices .*expected fast, default; found best|found best/],
  ["a text for a list", (t) => t.replace("[--help]", "--help"), /:13:8: not a list/],
  ["a list for a map", (t) => t.replace("{etc/motd: motd}", "[motd]"), /:7:8: not a map/],
  ["a name with =", (t) => t.replace("LANG:", "LA=NG:"), /:14:9: a name that is empty or holds =/],
  ["another form", (t) => t.replace("build/1", "build/2"), /:2:9: not one of the choices/],
  ["no form", (t) => t.replace("imgkit: build/1\n", ""), /the form of the file is not named/],
  ["no output", (t) => t.replace(/outputs:[\s\S]*/, "outputs: {record: r.json}\n"), /nothing is to be made/],
  ["settings for nothing", (t) => t.replace("  disk: out.raw\n", ""), /settings for an output that is not made .*field disk/],
  ["no YAML", () => "a: [", /:1:\d+: /],
  ["two documents", (t) => `${t}---\na: b\n`, /: Source contains multiple documents/],
  ["a list of files", () => "- a\n", /:1:1: not a map/],
  ["nothing", () => "", /:1:1: not a map .*found nothing/],
  [
    "a bomb",
    () =>
      `a: &a [x, x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &b${i} [*${i === 0 ? "a" : `b${i - 1}`}, *${i === 0 ? "a" : `b${i - 1}`}]`).join("\n")}\n`,
    /a key that build\/1 does not have/,
  ],
];

test.each(refused)("refused with its line: %s", async (_, change, cause) => {
  expectFailure(await here(["build", scratch.write("refused.yaml", change(whole))]), 2, cause);
});

test("with --output-dir no output is anywhere else", () => {
  for (const path of ["/etc/out.tar", "../out.tar", "a/../../out.tar"]) {
    expect(() => parseBuildFile(whole.replace("tar: out.tar", `tar: ${path}`), "f.yaml", "out")).toThrow(
      expect.objectContaining({ code: "BAD_BUILD_FILE", message: expect.stringContaining("f.yaml:20:8: an output that is not below") }),
    );
  }
});

describe("the table of members", () => {
  // What a build file says elsewhere, or what is of a run and not of an image.
  const ofTheRun = [
    "--output",
    "--json",
    "--quiet",
    "--no-progress",
    "--record",
    "--epoch",
    "--help",
    "--tag",
    "--mtree",
    "--map",
    "--secure-boot-export",
    "--verity-export",
    "--tar-form",
  ];
  // What the file says once, for every step.
  const ofTheSource = ["--arch", "--annotation", "--platform"];
  const ofRegistries = ["--authfile", "--plain-http", "--ca", "--cert-dir", "--mirror"];
  const ofTheLock = ["--cache", "--offline", "--snapshot", "--snapshot-url", "--any-version", "--lockfile"];
  const named = (members: Members): string[] => Object.entries(members).map(([name, { kind, option }]) => `--${kind === "yes" ? "no-" : ""}${option ?? name}`);

  test.each([
    ["image", [...named(imageMembers), ...named(treeMembers), "--arch"]],
    ["disk", [...named(diskMembers), ...named(treeMembers), "--platform"]],
    ["rootfs", [...named(treeMembers), ...ofTheSource]],
  ])("says every option of imgkit %s, and only those", async (name, members) => {
    const command = (await makeProgram({ argv: [] } as never)).commands.find((one) => one.name() === name) as Command;
    const options = command.options.map(({ long }) => long ?? "").filter((long) => ![...ofTheRun, ...ofTheLock, ...ofRegistries].includes(long));
    expect([...members].sort()).toEqual(options.sort());
  });

  test("the JSON Schema has each member once, and refuses others", () => {
    const schema = buildSchema() as { properties: Record<string, { properties: object; additionalProperties: boolean }>; additionalProperties: boolean };
    expect(schema.additionalProperties).toBe(false);
    expect(Object.keys(schema.properties)).toEqual(["imgkit", "source", "lock", "arch", "epoch", "tree", "image", "disk", "outputs"]);
    for (const [name, members] of Object.entries(sections)) {
      expect(schema.properties[name]).toMatchObject({ type: "object", additionalProperties: false });
      expect(Object.keys(schema.properties[name]?.properties ?? {})).toEqual(Object.keys(members));
    }
  });

  test("the schema is printed alone", async () => {
    expect(json(await here(["build", "--schema"]))).toEqual(buildSchema());
  });
});
