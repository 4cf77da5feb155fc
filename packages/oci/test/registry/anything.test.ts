// A registry that answers anything: whatever it says, a pull and a push end with the right digests or a typed error.
import { ImgkitError } from "@imgkit/bytes";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { copyImage, createRegistryClient, layoutTarget, listReferrers, MEDIA_INDEX, MEDIA_MANIFEST, memoryBlobs, readBlob } from "../../src/index.ts";
import { type MemoryImage, memoryImage } from "./images.ts";
import { type Scripted, type Sent, STALL, scripted } from "./scripted.ts";

const numRuns = process.env.IMGKIT_LONG === "1" ? 10_000 : 400;
let image: MemoryImage;
let documents: Map<string, Uint8Array>;
beforeAll(async () => {
  image = await memoryImage(1000);
  documents = new Map();
  const manifest = await readBlob(image.blobs, image.root, { maxSize: 1 << 20 });
  documents.set(image.root.digest, manifest);
  const { config, layers } = JSON.parse(new TextDecoder().decode(manifest));
  for (const one of [config, ...layers]) documents.set(one.digest, await readBlob(image.blobs, one, { maxSize: 1 << 20 }));
});

/** What an honest registry says: it has the image under every tag, and takes what it is given. */
function honest({ method, url, headers }: Sent): Scripted {
  const { pathname } = new URL(url);
  const name = pathname.split("/").at(-1) ?? "";
  if (method === "POST") return { status: 202, headers: { location: "/v2/a/blobs/uploads/1" } };
  if (method === "PUT" || method === "PATCH" || method === "DELETE") return { status: method === "PATCH" ? 202 : 201 };
  if (pathname.includes("/uploads/")) return { status: 204, headers: { range: "0-0" } };
  const bytes = documents.get(name) ?? (pathname.includes("/manifests/") ? documents.get(image.root.digest) : undefined);
  if (bytes === undefined) return { status: 404 };
  const start = Number(/^bytes=(\d+)-/.exec(headers.range ?? "")?.[1] ?? 0);
  const part = bytes.subarray(start);
  const range = start === 0 ? {} : { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  return {
    status: start === 0 ? 200 : 206,
    headers: { "content-type": MEDIA_MANIFEST, "content-length": `${part.length}`, ...range },
    body: method === "HEAD" ? "" : part,
  };
}

const odd = fc.constantFrom(
  "",
  "0",
  "-1",
  "1",
  "999999999999",
  "x",
  "bytes 1-2/3",
  "0-5",
  "0-99999999",
  "/",
  "//evil",
  "https://evil.example/",
  "http://10.0.0.1/",
  "?",
  `sha256:${"0".repeat(64)}`,
);
const header = fc.oneof(
  fc.tuple(
    fc.constantFrom("content-length", "content-range", "range", "location", "docker-content-digest", "retry-after", "content-encoding", "oci-subject"),
    odd,
  ),
  fc.tuple(fc.constant("content-type"), fc.constantFrom("", MEDIA_MANIFEST, MEDIA_INDEX, "text/html", "application/json")),
  fc.tuple(
    fc.constant("www-authenticate"),
    fc.constantFrom("Basic", 'Bearer realm="https://r.example/token"', 'Bearer realm="http://10.0.0.1"', "Bearer", "x"),
  ),
  fc.tuple(fc.constant("link"), fc.constantFrom('</x>; rel="next"', "<>; rel=next", "<http://[>; rel=next")),
);
const status = fc.constantFrom(200, 200, 201, 202, 204, 206, 301, 302, 307, 400, 401, 401, 403, 404, 404, 405, 416, 418, 429, 500, 503);
const body = fc.oneof(
  fc.constantFrom(
    "",
    "{}",
    "[]",
    "null",
    '{"token":"x"}',
    '{"tags":null}',
    '{"errors":[{"code":1}]}',
    `{"schemaVersion":2,"manifests":[]}`,
    `{"schemaVersion":2,"config":{},"layers":[]}`,
  ),
  fc.uint8Array({ maxLength: 40 }),
);
const change = fc.record({
  status: fc.option(status),
  headers: fc.option(fc.array(header, { maxLength: 3 })),
  body: fc.option(body),
  cut: fc.boolean(),
  fails: fc.constantFrom(false, false, false, true),
});
/** For each request either nothing, which is the honest answer, or what is changed in it. */
const script = fc.array(fc.option(change, { freq: 2 }), { minLength: 1, maxLength: 12 });

type Changes = (typeof script extends fc.Arbitrary<infer T> ? T : never)[number];

function changed(sent: Sent, with_: Changes | undefined): Scripted {
  const answer = honest(sent);
  if (with_ === undefined || with_ === null) return answer;
  if (with_.fails) throw new TypeError("fetch failed");
  const given = with_.body ?? answer.body ?? "";
  return {
    status: with_.status ?? answer.status,
    headers: { ...answer.headers, ...Object.fromEntries(with_.headers ?? []) },
    body: with_.cut && given instanceof Uint8Array ? given.subarray(0, given.length / 2) : given,
  };
}

test("fuzz: a pull, a list and a push end with the right digests or a typed error, and soon", async () => {
  const ends = { well: 0, badly: 0 };
  await fc.assert(
    fc.asyncProperty(script, fc.constantFrom("pull", "push", "list"), async (changes, job) => {
      const network = scripted((sent) => changed(sent, changes[(network.sent.length - 1) % changes.length]));
      const credentials = async () => ({ username: "u", password: "p" });
      const repository = createRegistryClient({ network: network.network, credentials, patience: { attempts: 3, stallTimeout: STALL } }).repository(
        "r.example/a",
      );
      try {
        if (job === "push") {
          expect((await copyImage(image.source, undefined, repository, "t")).descriptor.digest).toBe(image.root.digest);
        } else if (job === "pull") {
          const blobs = memoryBlobs();
          const { descriptor } = await copyImage(repository, "t", layoutTarget({ blobs, add() {} }));
          // What is kept is what it is called: reading it back verifies.
          await readBlob(blobs, descriptor, { maxSize: 1 << 20 });
        } else {
          for await (const one of repository.tags()) expect(one).toBeTypeOf("string");
          for await (const one of listReferrers(repository, image.root.digest)) expect(one.digest).toBeTypeOf("string");
        }
        ends.well++;
      } catch (error) {
        if (!(error instanceof ImgkitError)) throw error;
        ends.badly++;
      }
      expect(network.sent.length).toBeLessThan(500);
      // Nobody but the registry is told who we are.
      for (const { url, headers } of network.sent) if (new URL(url).host !== "r.example") expect(headers.authorization).toBeUndefined();
      for (const { url } of network.sent) expect(url).not.toContain("10.0.0.1");
    }),
    { numRuns },
  );
  // Both happen often, or this would prove nothing.
  expect(Math.min(ends.well, ends.badly)).toBeGreaterThan(numRuns / 10);
}, 600_000);
