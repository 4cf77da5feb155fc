import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatEpoch, formatPlatform, type ImageSettings, parsePlatform, parseTime } from "../src/index.ts";
import { executionConfig } from "../src/settings.ts";
import { isRfc3339 } from "../src/time.ts";

test("an epoch is written as Date would write it, without Date", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 253_402_300_799 }), (epoch) => {
      const text = formatEpoch(epoch);
      expect(text).toBe(new Date(epoch * 1000).toISOString().replace(".000Z", "Z"));
      expect(isRfc3339(text)).toBe(true);
      expect(parseTime(text)).toBe(epoch);
    }),
    { numRuns: 1000, examples: [[0], [68_169_599], [68_169_600], [951_782_400], [951_868_799], [4_107_542_400], [253_402_300_799]] },
  );
});

test.each(["1969-12-31T23:59:59Z", "2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20+01:00", "2023-11-14T22:13:60Z", "2023-02-29T00:00:00Z", "yesterday"])(
  "%s is no time that imgkit writes",
  (text) => {
    expect(parseTime(text)).toBeUndefined();
  },
);

test.each([-1, 1.5, Number.NaN, 253_402_300_800, 2 ** 60])("the epoch %s is refused", (epoch) => {
  expect(() => formatEpoch(epoch)).toThrow(expect.objectContaining({ code: "BAD_EPOCH" }));
});

test.each([
  ["2015-10-31T22:22:56.015925234Z", true],
  ["2015-10-31t22:22:56+01:30", true],
  ["2016-12-31T23:59:60Z", true],
  ["2024-02-29T00:00:00Z", true],
  ["2023-02-29T00:00:00Z", false],
  ["2023-13-01T00:00:00Z", false],
  ["2023-01-01 00:00:00Z", false],
  ["2023-01-01T00:00:00", false],
  ["2023-01-01T24:00:00Z", false],
  ["2023-01-01T00:00:00.Z", false],
  ["0", false],
])("%s as a time of RFC 3339: %s", (text, right) => {
  expect(isRfc3339(text)).toBe(right);
});

describe("platforms", () => {
  test.each(["linux/amd64", "linux/arm64", "linux/arm64/v8", "linux/arm/v7", "linux/riscv64", "linux/386", "windows/amd64", "linux/amd64/v3"])(
    "%s stays as it is",
    (text) => {
      expect(formatPlatform(parsePlatform(text))).toBe(text);
    },
  );
  test.each([
    ["linux/x86_64", "linux/amd64"],
    ["linux/x86-64", "linux/amd64"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/armhf", "linux/arm/v7"],
    ["linux/ppc64el", "linux/ppc64le"],
  ])("%s is refused, and the hint says %s", (text, hint) => {
    expect(() => parsePlatform(text)).toThrow(
      expect.objectContaining({ code: "BAD_PLATFORM", facts: expect.objectContaining({ hint: expect.stringContaining(hint) }) }),
    );
  });
  test.each([
    "",
    "linux",
    "linux/",
    "/amd64",
    "Linux/amd64",
    "linux/amd64/v9",
    "linux/riscv64/v1",
    "linux/arm/",
    "linux/arm/v7/x",
    "linux/AMD64",
    "linux/amd64 ",
  ])("%j is refused", (text) => {
    expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: "BAD_PLATFORM" }));
  });
});

describe("settings", () => {
  test("all settings stand in the config under the specification's names", () => {
    const config = executionConfig({
      entrypoint: ["/init", ""],
      cmd: ["a", "b"],
      env: ["PATH=/bin", "EMPTY="],
      workdir: "/srv",
      user: "app:1000",
      labels: { "com.example.a": "b" },
      exposedPorts: ["80", "53/udp"],
      volumes: ["/data"],
      stopSignal: "SIGRTMIN+3",
    });
    expect(config).toEqual({
      Entrypoint: ["/init", ""],
      Cmd: ["a", "b"],
      Env: ["PATH=/bin", "EMPTY="],
      WorkingDir: "/srv",
      User: "app:1000",
      Labels: { "com.example.a": "b" },
      ExposedPorts: { "80": {}, "53/udp": {} },
      Volumes: { "/data": {} },
      StopSignal: "SIGRTMIN+3",
    });
  });

  const bad: readonly [field: string, settings: ImageSettings][] = [
    ["entrypoint[0]", { entrypoint: [""] }],
    ["cmd[1]", { cmd: ["a", "b\0c"] }],
    ["env[0]", { env: ["NOVALUE"] }],
    ["env[0]", { env: ["=x"] }],
    ["env[1]", { env: ["A=1", "A=2"] }],
    ["workdir", { workdir: "srv" }],
    ["user", { user: "" }],
    ["user", { user: "a:b:c" }],
    ["user", { user: "2147483648" }],
    ["user", { user: "0:99999999999" }],
    ['labels[""]', { labels: { "": "x" } }],
    ["exposedPorts[0]", { exposedPorts: ["0"] }],
    ["exposedPorts[0]", { exposedPorts: ["65536"] }],
    ["exposedPorts[0]", { exposedPorts: ["80/icmp"] }],
    ["volumes[0]", { volumes: ["data"] }],
    ["stopSignal", { stopSignal: "TERM" }],
  ];
  test.each(bad)("%s is refused: %j", (field, settings) => {
    expect(() => executionConfig(settings)).toThrow(expect.objectContaining({ code: "BAD_CONFIG", facts: expect.objectContaining({ field }) }));
  });

  test("a setting that is no UTF-8 is refused", () => {
    expect(() => executionConfig({ cmd: ["\udcff"] })).toThrow(expect.objectContaining({ code: "JSON_ENCODING" }));
  });
});
