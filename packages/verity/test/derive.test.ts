import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromHex, toHex } from "@imgkit/bytes";
import { expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import {
  architectureTypes,
  commonTypes,
  deriveDiskUuid,
  deriveFileSystemUuid,
  derivePartitionUuid,
  deriveVeritySalt,
  deriveVerityUuid,
  partitionType,
  partitionTypeName,
  rootHashUuids,
} from "../src/index.ts";

const seed = "750b6cd5-c4ae-4012-a15e-7be3c29e6a47";

test("one seed, the UUIDs that systemd-repart 252 gave", () => {
  const linux = commonTypes["linux-generic"];
  expect(deriveDiskUuid(seed)).toBe("1d2ce291-7cce-4f7d-bc83-fdb49ad74ebd");
  expect([0, 1, 2].map((i) => derivePartitionUuid(seed, linux, i))).toEqual([
    "df71f5e3-080a-4d16-824b-18591b881380",
    "db081670-07ae-48ca-9f5e-813d5e40b976",
    "593f46bf-e744-4e94-9627-16183b6671de",
  ]);
  const root = derivePartitionUuid(seed, architectureTypes["x86-64"].root.data);
  expect(root).toBe("60f33797-1d71-4dcb-aa6f-20564f036cd0");
  expect(deriveFileSystemUuid(root)).toBe("70e624a3-caca-4b82-b656-2e7168b70ff1");
});

// systemd 252 does not derive these two yet: the pinned values are OpenSSL's HMAC of the messages.
test("the salt is 32 bytes and the superblock's UUID of version 4, both of the seed alone", () => {
  expect(deriveVeritySalt(seed)).toHaveLength(32);
  expect(toHex(deriveVeritySalt(seed))).toBe("aece282c3c2def3554654f2e7295e770a8ba079339ff8818bd2dcd9a6817f99c");
  expect(deriveVerityUuid(seed)).toBe("5b4cf557-8269-4aa1-8669-41f3431271c8");
  expect(deriveVerityUuid(seed)).toMatch(/^\w{8}-\w{4}-4\w{3}-[89ab]\w{3}-\w{12}$/);
  expect(deriveVeritySalt(seed.toUpperCase())).toEqual(deriveVeritySalt(seed));
});

oracle("systemd-repart", "sfdisk").each([seed, "00000000-0000-0000-0000-000000000001", "ffffffff-ffff-4fff-bfff-ffffffffffff"])(
  "systemd-repart gives the same disk and partition UUIDs for the seed %s",
  (one) => {
    const folder = mkdtempSync(join(tmpdir(), "imgkit-repart-"));
    try {
      const types = ["esp", "root-x86-64", "linux-generic", "usr-x86-64", "linux-generic", "home", "linux-generic", "srv", "var", "xbootldr", "swap"];
      mkdirSync(join(folder, "definitions"));
      types.forEach((type, i) => {
        writeFileSync(join(folder, "definitions", `${10 + i}.conf`), `[Partition]\nType=${type}\nSizeMinBytes=1M\nSizeMaxBytes=1M\n`);
      });
      const disk = join(folder, "disk");
      const flags = [`--seed=${one}`, `--definitions=${join(folder, "definitions")}`, "--empty=create", "--size=64M", "--dry-run=no"];
      execFileSync("systemd-repart", [...flags, disk], { stdio: "pipe" });
      const { partitiontable: table } = JSON.parse(execFileSync("sfdisk", ["--json", disk], { encoding: "utf8" }));
      expect(table.id.toLowerCase()).toBe(deriveDiskUuid(one));
      const seen = new Map<string, number>();
      const expected = types.map((name) => {
        const type = partitionType(name) ?? "";
        const index = seen.get(type) ?? 0;
        seen.set(type, index + 1);
        return `${type} ${derivePartitionUuid(one, type, index)}`;
      });
      // repart orders what has no weight of its own by itself; each partition has its UUID wherever it stands.
      const found = table.partitions.map((p: { type: string; uuid: string }) => `${p.type} ${p.uuid}`.toLowerCase());
      expect(found.sort()).toEqual(expected.sort());
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test("the halves of a root hash are the partition UUIDs, as they are", () => {
  const hash = fromHex("00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0");
  expect(rootHashUuids(hash)).toEqual({ data: "00112233-4455-6677-8899-aabbccddeeff", verity: "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0" });
  const long = new Uint8Array(64).fill(1, 0, 16).fill(2, 48);
  expect(rootHashUuids(long)).toEqual({ data: "01010101-0101-0101-0101-010101010101", verity: "02020202-0202-0202-0202-020202020202" });
  expect(() => rootHashUuids(new Uint8Array(20))).toThrow(expect.objectContaining({ code: "BAD_ROOT_HASH" }));
});

test("every partition type has a name, and no two share one", () => {
  const types = [
    ...Object.values(commonTypes),
    ...Object.values(architectureTypes).flatMap((a) => [a.root, a.usr].flatMap((t) => [t.data, t.verity, t.veritySig])),
  ];
  expect(new Set(types).size).toBe(types.length);
  for (const type of types) expect(partitionType(partitionTypeName(type.toUpperCase()) ?? "")).toBe(type);
  expect(partitionTypeName(architectureTypes.riscv64.usr.veritySig)).toBe("usr-riscv64-verity-sig");
  expect(partitionTypeName("00000000-0000-0000-0000-000000000000")).toBeUndefined();
  expect(partitionType("root")).toBeUndefined();
});

oracle("sfdisk")("sfdisk knows our partition types by name", () => {
  const known = execFileSync("sfdisk", ["--list-types", "--label=gpt"], { encoding: "utf8" }).toLowerCase();
  for (const type of [...Object.values(commonTypes), ...Object.values(architectureTypes).flatMap((a) => [a.root, a.usr].flatMap((t) => [t.data, t.verity]))]) {
    expect(known).toContain(type);
  }
});
