// What comes as text: references, headers, files of credentials. Tables, properties, and a fuzz of each reader.
import { parseContentRange, parseRetryAfter } from "@imgkit/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatReference, OciError, parseReference, type Reference, referenceTarget } from "../../src/index.ts";
import { credentialsIn, parseAuthFile, parseHelperAnswer } from "../../src/registry/auth-file.ts";
import { parseChallenges, parseNextLink, parseUploadRange } from "../../src/registry/header.ts";

const numRuns = process.env.IMGKIT_LONG === "1" ? 20_000 : 1000;
const hex = "0123456789abcdef".repeat(4);
const digest = `sha256:${hex}`;

describe("references, as distribution/reference reads them", () => {
  test.each<[text: string, expected: Reference]>(
    [
      ["debian", { registry: "docker.io", repository: "library/debian" }],
      ["debian:12", { registry: "docker.io", repository: "library/debian", tag: "12" }],
      [`debian@${digest}`, { registry: "docker.io", repository: "library/debian", digest }],
      ["team/app", { registry: "docker.io", repository: "team/app" }],
      ["docker.io/debian", { registry: "docker.io", repository: "library/debian" }],
      ["index.docker.io/library/debian", { registry: "docker.io", repository: "library/debian" }],
      ["localhost/app", { registry: "localhost", repository: "app" }],
      ["localhost:5000/app", { registry: "localhost:5000", repository: "app" }],
      ["LOCALHOST:1/app", { registry: "localhost:1", repository: "app" }],
      ["R.Example/app", { registry: "r.example", repository: "app" }],
      ["r.example/a/b/c:t", { registry: "r.example", repository: "a/b/c", tag: "t" }],
      [`r.example:443/a:t@${digest}`, { registry: "r.example:443", repository: "a", tag: "t", digest }],
      ["[::1]:5000/app", { registry: "[::1]:5000", repository: "app" }],
      ["[2001:DB8:0:0::1]/app", { registry: "[2001:db8::1]", repository: "app" }],
      ["127.0.0.1/app", { registry: "127.0.0.1", repository: "app" }],
      ["app:5000", { registry: "docker.io", repository: "library/app", tag: "5000" }],
      [`a:${"t".repeat(128)}`, { registry: "docker.io", repository: "library/a", tag: "t".repeat(128) }],
    ].filter(([text]) => !String(text).startsWith("a.b__")) as [string, Reference][],
  )("%s", (text, expected) => {
    expect(parseReference(text)).toEqual(expected);
  });

  test.each([
    "",
    ":t",
    "a:",
    "a@",
    "a@sha256:00",
    `a@md5:${hex}`,
    "A",
    "a/B",
    "r.example/",
    "r.example/A",
    "-a",
    "a-",
    "a..b",
    "a___b",
    "a//b",
    "/a",
    "a/",
    "https://r.example/a",
    "Z/a",
    "a:-t",
    "a:.t",
    `a:${"t".repeat(129)}`,
    "r.example:0/a",
    "r.example:65536/a",
    "r.example:x/a",
    "-r.example/a",
    "r..example/a",
    "[::1/a",
    "[::g]/a",
    "::1/a",
    "a b",
    "a\n",
    "é",
    hex,
    `r.example/${"a/".repeat(150)}a`,
    "a".repeat(100_000),
    "r.example/a/../b",
    "r.example/a?x",
    "user:password@r.example/a",
  ])("%j is none", (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: "BAD_REFERENCE" }));
  });

  test("what is written is read again; a digest counts for more than a tag, and latest is what is meant without", () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}$/);
    const reference = fc.record(
      {
        registry: fc.constantFrom("docker.io", "r.example", "localhost:5000", "[::1]:5000"),
        repository: fc.array(component, { minLength: 2, maxLength: 4 }).map((parts) => parts.join("/")),
        tag: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/),
        digest: fc.constant(digest),
      },
      { requiredKeys: ["registry", "repository"] },
    );
    fc.assert(
      fc.property(reference, (one) => {
        expect(parseReference(formatReference(one))).toEqual(one);
        expect(referenceTarget(one)).toBe(one.digest ?? one.tag ?? "latest");
      }),
      { numRuns },
    );
  });

  test("fuzz: any text is a reference that stays the same when it is written, or a typed error", () => {
    const pieces = fc.array(
      fc.oneof(fc.constantFrom(..."aZ09./:@-_[]%\\ \0é".split(""), digest, "localhost", "::1", "docker.io", "sha256:"), fc.string({ maxLength: 3 })),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const text = parts.join("");
        try {
          const reference = parseReference(text);
          expect(parseReference(formatReference(reference))).toEqual(reference);
          // The name becomes part of a URL: nothing in it may lead elsewhere.
          expect(new URL(`https://${reference.registry}/v2/${reference.repository}/x`).pathname).toBe(`/v2/${reference.repository}/x`);
        } catch (error) {
          expect(error).toBeInstanceOf(OciError);
        }
      }),
      { numRuns: 5 * numRuns },
    );
  });
});

describe("headers", () => {
  const plain = (header: string): unknown => parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

  test.each<[header: string, expected: unknown]>([
    ["", []],
    ["Basic", [["basic", {}]]],
    ['Basic realm="a, b"', [["basic", { realm: "a, b" }]]],
    [
      'Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"',
      [["bearer", { realm: "https://a/t", service: "s", scope: "repository:a/b:pull,push" }]],
    ],
    ['BEARER Realm="x" , SERVICE=s', [["bearer", { realm: "x", service: "s" }]]],
    ['Bearer realm="a\\"b\\\\c"', [["bearer", { realm: 'a"b\\c' }]]],
    [
      'Basic realm="x", Bearer realm="y",service=z',
      [
        ["basic", { realm: "x" }],
        ["bearer", { realm: "y", service: "z" }],
      ],
    ],
    [
      "Negotiate, Basic realm=x",
      [
        ["negotiate", {}],
        ["basic", { realm: "x" }],
      ],
    ],
    [", ,Basic", [["basic", {}]]],
    ["Bearer realm=a, realm=b", [["bearer", { realm: "a" }]]],
    ["Bearer realm=", [["bearer", {}]]],
    ['Bearer realm="open', [["bearer", {}]]],
    ["\u0000", []],
    [`Bearer realm="${"x".repeat(20_000)}"`, []],
  ])("WWW-Authenticate: %s", (header, expected) => {
    expect(plain(header)).toEqual(expected);
  });

  test.each<[header: string, expected: string | undefined]>([
    ['</v2/a/tags/list?last=x&n=1>; rel="next"', "/v2/a/tags/list?last=x&n=1"],
    ["<x>;rel=next", "x"],
    ['<x>; rel="prev", <y>; title="a, b"; rel="next"', "y"],
    ['<x>; rel="prev next"', "x"],
    ['<x>; REL="NEXT"', "x"],
    ["<x>; rel=prev; rel=next", undefined],
    ["<x>", undefined],
    ["x; rel=next", undefined],
    ["<x; rel=next", undefined],
    ["", undefined],
  ])("Link: %s", (header, expected) => {
    expect(parseNextLink(header)).toBe(expected);
  });

  test("Retry-After's dates are the calendar's", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_102_444_800 }), (seconds) => {
        expect(parseRetryAfter(new Date(seconds * 1000).toUTCString(), 0)).toBe(seconds * 1000);
      }),
      { numRuns },
    );
    for (const header of ["", "-1", "1.5", "1e3", "Tue, 14 Nov 2023 22:13:50 CET", "Tuesday, 14-Nov-23 22:13:50 GMT", "9".repeat(20)]) {
      expect(parseRetryAfter(header, 0), header).toBeUndefined();
    }
  });

  test("Content-Range and the Range of an upload", () => {
    expect(parseContentRange("bytes 5-9/10")).toEqual({ first: 5, last: 9, size: 10 });
    expect(parseContentRange("bytes 5-9/*")).toEqual({ first: 5, last: 9, size: undefined });
    for (const header of ["", "bytes */10", "5-9/10", "bytes 5-/10", "bytes -5-9/10"]) expect(parseContentRange(header), header).toBeUndefined();
    expect([parseUploadRange("0-0"), parseUploadRange("0-9"), parseUploadRange("bytes=0-9")]).toEqual([0, 10, 10]);
    for (const header of ["", "1-9", "0-", "0--1", "bytes 0-9"]) expect(parseUploadRange(header), header).toBeUndefined();
  });

  test("fuzz: no header makes a reader throw, or take long", () => {
    const pieces = fc.array(
      fc.oneof(
        fc.constantFrom('"', "\\", ",", ";", "=", "<", ">", " ", "\t", "Bearer", "realm", "rel", "next", "bytes", "-", "/", "1", "\0", "é"),
        fc.string({ maxLength: 4 }),
      ),
      {
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const header = parts.join("");
        for (const { scheme, parameters } of parseChallenges(header))
          expect([scheme, ...parameters.keys()].every((name) => name === name.toLowerCase())).toBe(true);
        parseNextLink(header);
        parseRetryAfter(header, 0);
        parseContentRange(header);
        parseUploadRange(header);
      }),
      { numRuns: 5 * numRuns },
    );
    const start = performance.now();
    for (const long of ['"\\'.repeat(8000), ",".repeat(16_000), "a=".repeat(8000), "<".repeat(16_000), "<a>;".repeat(4000)]) {
      parseChallenges(long);
      parseNextLink(long);
    }
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe("files of credentials", () => {
  const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
  const auth = (user: string): { auth: string } => ({ auth: Buffer.from(`${user}:secret`).toString("base64") });
  const look = (file: unknown, registry: string, repository?: string): unknown => credentialsIn(parseAuthFile(bytes(file), "auth.json"), registry, repository);

  test("the longest name counts: a repository's before a namespace's before a registry's", () => {
    const auths = { "r.example": auth("all"), "r.example/team": auth("team"), "r.example/team/app": auth("app"), "other.example": auth("other") };
    for (const [repository, username] of [
      ["team/app", "app"],
      ["team/other", "team"],
      ["team2/app", "all"],
      [undefined, "all"],
    ] as const) {
      expect(look({ auths }, "r.example", repository)).toEqual({ credentials: { username, password: "secret" } });
    }
    expect(look({ auths }, "nobody.example")).toBeUndefined();
    expect(look({}, "r.example")).toBeUndefined();
  });

  test.each(["https://index.docker.io/v1/", "index.docker.io", "docker.io", "https://registry-1.docker.io", "docker.io/v1/"])("%s is Docker Hub", (key) => {
    expect(look({ auths: { [key]: auth("hub") } }, "docker.io", "library/debian")).toEqual({ credentials: { username: "hub", password: "secret" } });
  });

  test.each<[entry: object, credentials: object]>([
    [{ auth: Buffer.from("u:a:b:c").toString("base64") }, { username: "u", password: "a:b:c" }],
    [{ auth: Buffer.from("u:p\0\0").toString("base64") }, { username: "u", password: "p" }],
    [
      { username: "u", password: "p" },
      { username: "u", password: "p" },
    ],
    [
      { auth: Buffer.from("u:").toString("base64"), identitytoken: "T" },
      { username: "u", password: "", identityToken: "T" },
    ],
    [{ registrytoken: "R" }, { registryToken: "R" }],
    [{ auth: Buffer.from("ü:é").toString("base64") }, { username: "ü", password: "é" }],
  ])("%j", (entry, credentials) => {
    expect(look({ auths: { "r.example": entry } }, "r.example")).toEqual({ credentials });
  });

  test("helpers: one of a registry's own, else the store for what the file does not have", () => {
    const file = {
      auths: { "r.example": auth("file"), "empty.example": {} },
      credHelpers: { "docker.io": "hub", "own.example": "own" },
      credsStore: "desktop",
    };
    expect(look(file, "docker.io", "library/x")).toEqual({ helper: "hub", server: "https://index.docker.io/v1/" });
    expect(look(file, "own.example")).toEqual({ helper: "own", server: "own.example" });
    expect(look(file, "r.example")).toEqual({ credentials: { username: "file", password: "secret" } });
    expect(look(file, "empty.example")).toEqual({ helper: "desktop", server: "empty.example" });
    expect(parseHelperAnswer(bytes({ ServerURL: "x", Username: "u", Secret: "s" }), "h")).toEqual({ username: "u", password: "s" });
    expect(parseHelperAnswer(bytes({ Username: "<token>", Secret: "s" }), "h")).toEqual({ identityToken: "s" });
  });

  test.each<[what: string, file: unknown, code: string]>([
    ["a list", [], "BAD_CREDENTIALS"],
    ["auths that are a list", { auths: [] }, "BAD_CREDENTIALS"],
    ["a helper that is a path", { credsStore: "../../tmp/evil" }, "BAD_CREDENTIALS"],
    ["a helper with a space", { credHelpers: { "r.example": "a b" } }, "BAD_CREDENTIALS"],
    ["no JSON", "{", "JSON_SYNTAX"],
    ["a registry that stands twice", '{"auths":{"a.b":{},"a.b":{}}}', "JSON_DUPLICATE_KEY"],
    ["an entry that is no Base64", { auths: { "r.example": { auth: "%%%" } } }, "BAD_CREDENTIALS"],
    ["an entry without a colon", { auths: { "r.example": { auth: btoa("secret") } } }, "BAD_CREDENTIALS"],
    ["an entry of numbers", { auths: { "r.example": { username: 1 } } }, "BAD_CREDENTIALS"],
  ])("%s is refused, and its secrets are not shown", (_, file, code) => {
    const error = (() => {
      try {
        return look(file, "r.example");
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toMatchObject({ code });
    expect(String(error)).not.toMatch(/secret|c2VjcmV0/);
  });

  test("an entry that cannot be read concerns its own registry only", () => {
    const auths = { "bad.example": { auth: "%%%" }, "r.example": auth("u") };
    expect(look({ auths }, "r.example")).toEqual({ credentials: { username: "u", password: "secret" } });
  });

  test("fuzz: any bytes are a file, or a typed error", () => {
    const json = fc.record({
      auths: fc.oneof(
        fc.jsonValue(),
        fc.dictionary(
          fc.oneof(fc.constantFrom("r.example", "https://r.example/v1/", "docker.io"), fc.string()),
          fc.oneof(fc.jsonValue(), fc.record({ auth: fc.oneof(fc.string(), fc.base64String()) })),
        ),
      ),
      credHelpers: fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.string())),
    });
    fc.assert(
      fc.property(fc.oneof(json.map(bytes), fc.uint8Array({ maxLength: 200 })), (file) => {
        try {
          credentialsIn(parseAuthFile(file, "x"), "r.example", "a/b");
        } catch (error) {
          expect(error).toBeInstanceOf(OciError);
        }
        try {
          parseHelperAnswer(file, "x");
        } catch (error) {
          expect(error).toBeInstanceOf(OciError);
        }
      }),
      { numRuns: 2 * numRuns },
    );
  });
});
