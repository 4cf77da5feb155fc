import { describe, expect, test } from "vitest";
import { loadApkoConfig, parseApkoConfig, splitWords } from "../src/index.ts";

/** What apko does not allow beside a base image. */
function of(what: string, name: string, value: unknown): [what: string, document: unknown, code: string, cause: RegExp] {
  const contents = { baseimage: { image: "image", apkindex: "index" } };
  return [`a ${what} and ${name}`, { contents, [name]: value }, "BAD_CONFIG", new RegExp(`not for a configuration with a base image.*field ${name};`)];
}

describe("a configuration", () => {
  test.each<[what: string, document: unknown, code: string, cause: RegExp]>([
    ["an unknown member", { contens: {} }, "BAD_CONFIG", /field contens; expected one of contents/],
    ["an unknown member below", { contents: { repos: [] } }, "BAD_CONFIG", /contents\.repos/],
    ["include", { include: "x.yaml" }, "UNSUPPORTED", /include is not supported/],
    ["layering by something else", { layering: { strategy: "size" } }, "BAD_CONFIG", /layering\.strategy; expected origin, found "size"/],
    ["layering by nothing", { layering: { budget: 3 } }, "BAD_CONFIG", /layering\.strategy/],
    ["layering of a budget that is none", { layering: { strategy: "origin", budget: -1 } }, "BAD_CONFIG", /layering\.budget/],
    ["a service whose name is a path", { entrypoint: { services: { "../x": "y" } } }, "BAD_CONFIG", /entrypoint\.services/],
    ["an entrypoint of another type", { entrypoint: { type: "bundle" } }, "BAD_CONFIG", /entrypoint\.type; expected service-bundle/],
    ["layers in EROFS", { format: "erofs" }, "UNSUPPORTED", /EROFS/],
    ["layers in another format", { format: "zip" }, "BAD_CONFIG", /field format; expected tar/],
    ["a base image without its database", { contents: { baseimage: { image: "x" } } }, "BAD_CONFIG", /contents\.baseimage\.apkindex/],
    ...["cmd", "stop-signal", "work-dir"].map((name) => of("base image", name, "x")),
    of("base image", "entrypoint", { command: "x" }),
    of("base image", "accounts", { "run-as": 0 }),
    of("base image", "accounts", { groups: [{ groupname: "g", gid: 1 }] }),
    of("base image", "environment", { A: "" }),
    of("base image", "paths", [{ path: "/x", type: "directory" }]),
    of("base image", "annotations", { a: "b" }),
    of("base image", "layering", { strategy: "origin" }),
    ["certificates of no name", { certificates: { additional: [{ content: "x" }] } }, "BAD_CONFIG", /certificates\.additional\[0\]\.name/],
    ["a key without content", { contents: { runtime_keyring: [{ name: "x" }] } }, "BAD_CONFIG", /runtime_keyring\[0\]\.content/],
    ["an architecture that is none", { archs: ["vax"] }, "BAD_CONFIG", /found vax/],
    ["a list for a map", { contents: [] }, "BAD_CONFIG", /contents; expected a map/],
    ["a package that is no text", { contents: { packages: [1] } }, "BAD_CONFIG", /contents\.packages\[0\]/],
    ["a user with a colon", { accounts: { users: [{ username: "a:b", uid: 1 }] } }, "BAD_CONFIG", /without a colon/],
    ["a user with a newline", { accounts: { users: [{ username: "a\nroot", uid: 1 }] } }, "BAD_CONFIG", /one line/],
    ["a user with the number of root", { accounts: { users: [{ username: "a", uid: 0 }] } }, "BAD_CONFIG", /run-as: 0/],
    ["a user without a number", { accounts: { users: [{ username: "a" }] } }, "BAD_CONFIG", /users\[0\]\.uid/],
    ["a number that is too large", { accounts: { users: [{ username: "a", uid: 2 ** 32 }] } }, "BAD_CONFIG", /4294967295/],
    ["a path of no kind", { paths: [{ path: "/x", type: "file" }] }, "BAD_CONFIG", /paths\[0\]\.type/],
    ["a link to nowhere", { paths: [{ path: "/x", type: "symlink" }] }, "BAD_CONFIG", /where the link leads/],
  ])("with %s is refused by name", (_, document, code, cause) => {
    expect(() => parseApkoConfig(document, "apko.yaml")).toThrow(expect.objectContaining({ code, message: expect.stringMatching(cause) }));
  });

  test("with a base image has contents and archs, also by what it includes", () => {
    const contents = { baseimage: { image: "image", apkindex: "index" }, packages: ["a"] };
    const config = parseApkoConfig({ contents, archs: ["x86_64"], annotations: {}, paths: [], accounts: {}, layering: {} }, "apko.yaml");
    expect(config.contents.baseImage).toEqual({ image: "image", apkindex: "index" });
    const load = (top: object) => loadApkoConfig("top", (path) => ({ document: path === "top" ? top : { contents }, bytes: new Uint8Array() })).config;
    expect(load({ include: "low", contents: { packages: ["b"] } }).contents).toMatchObject({ baseImage: { image: "image" }, packages: ["a", "b"] });
    expect(() => load({ include: "low", cmd: "x" })).toThrow(/field cmd/);
  });

  test("is read whole", () => {
    const config = parseApkoConfig(
      {
        environment: { A: "b" },
        cmd: "x y",
        "stop-signal": "SIGINT",
        "work-dir": "/srv",
        volumes: ["/data"],
        accounts: { "run-as": 65532 },
        archs: ["amd64", "aarch64"],
      },
      "apko.yaml",
    );
    expect(config).toMatchObject({
      environment: { A: "b" },
      cmd: "x y",
      stopSignal: "SIGINT",
      workDir: "/srv",
      volumes: ["/data"],
      accounts: { runAs: "65532" },
      archs: ["amd64", "arm64"],
    });
  });
});

describe("include", () => {
  const load = (files: Readonly<Record<string, object>>) =>
    loadApkoConfig("top.yaml", (path) => {
      if (!Object.hasOwn(files, path)) throw new Error(`${path} is not there`);
      return { document: files[path], bytes: Buffer.from(path) };
    });

  test("lists are one after the other, the innermost first; what stands once is the outer one's, and an entrypoint is whole", () => {
    const { config, files } = load({
      "top.yaml": { include: "mid.yaml", cmd: "top", contents: { packages: ["t"] }, environment: { A: "top" }, entrypoint: { "shell-fragment": "x" } },
      "mid.yaml": { include: "low.yaml", "work-dir": "/mid", contents: { packages: ["m"] }, environment: { A: "mid", B: "mid" }, accounts: { "run-as": "m" } },
      "low.yaml": {
        cmd: "low",
        "stop-signal": "SIGINT",
        archs: ["x86_64"],
        "vcs-url": "https://example.invalid@1",
        contents: { packages: ["l"], repositories: ["r"], keyring: ["k"] },
        environment: { B: "low", C: "low" },
        entrypoint: { command: "/low" },
        accounts: { "run-as": "l", users: [{ username: "l", uid: 1 }] },
        annotations: { a: "low" },
        paths: [{ path: "/x", type: "directory" }],
        volumes: ["/v"],
      },
    });
    expect(files.map(String)).toEqual(["top.yaml", "mid.yaml", "low.yaml"]);
    expect(config).toEqual(
      parseApkoConfig(
        {
          cmd: "top",
          "work-dir": "/mid",
          "stop-signal": "SIGINT",
          archs: ["amd64"],
          contents: { packages: ["l", "m", "t"], repositories: ["r"], keyring: ["k"] },
          environment: { A: "top", B: "mid", C: "low" },
          entrypoint: { "shell-fragment": "x" },
          accounts: { "run-as": "m", users: [{ username: "l", uid: 1 }] },
          annotations: { a: "low" },
          paths: [{ path: "/x", type: "directory" }],
          volumes: ["/v"],
        },
        "expected",
      ),
    );
  });

  test("of what is no path, of itself, or of too many is refused; an error names the file that it is in", () => {
    const refused = (files: Readonly<Record<string, object>>, cause: RegExp): void =>
      expect(() => load(files)).toThrow(expect.objectContaining({ code: "BAD_CONFIG", message: expect.stringMatching(cause) }));
    refused({ "top.yaml": { include: ["a"] } }, /field include; expected a path/);
    refused({ "top.yaml": { include: "a" }, a: { include: "top.yaml" } }, /^a: configurations that include one another/);
    refused(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i === 0 ? "top.yaml" : `${i}`, { include: `${i + 1}` }])), /at most 16 files/);
    refused({ "top.yaml": { include: "a" }, a: { contens: {} } }, /^a: .*field contens/);
  });
});

test.each([
  ["/bin/sh -l", ["/bin/sh", "-l"]],
  ["a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]],
  ["a''b \"\" 'it'\"'\"'s'", ["ab", "", "it's"]],
  ['"a\\"b" \'c\\d\'', ['a"b', "c\\d"]],
  ["a # b", ["a"]],
  ["a#b", ["a#b"]],
  ["  ", []],
])("the command %j is %j", (text, words) => {
  expect(splitWords(text, "cmd")).toEqual(words);
});

test("a quote that is not closed is refused", () => {
  expect(() => splitWords("a 'b", "cmd")).toThrow(/cmd/);
});
