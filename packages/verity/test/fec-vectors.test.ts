import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromHex, memorySource, toHex } from "@imgkit/bytes";
import { describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { buildFec, buildTree, fecLayout, type HashName } from "../src/index.ts";
import { memoryTarget, noise } from "./sample.ts";

interface FecVector {
  readonly name: string;
  readonly data: readonly ({ readonly zeros: number } | { readonly xorshift32: number; readonly size: number })[];
  readonly hash: HashName;
  readonly blockSize: number;
  readonly salt: string;
  readonly uuid: string;
  readonly roots: number;
  readonly rootHash: string;
  readonly size: number;
  readonly sha256: string;
}

const { vectors } = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/fec-1.json", import.meta.url), "utf8")) as { vectors: readonly FecVector[] };
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const dataOf = (vector: FecVector): Uint8Array => Buffer.concat(vector.data.map((d) => ("zeros" in d ? new Uint8Array(d.zeros) : noise(d.size, d.xorshift32))));

describe("fixtures/vectors/fec-1.json", () => {
  test.each(vectors)("$name", async (vector) => {
    const data = dataOf(vector);
    const hash = memoryTarget();
    const shape = { hash: vector.hash, hashType: 1, dataBlockSize: vector.blockSize, hashBlockSize: vector.blockSize } as const;
    const { rootHash, layout } = await buildTree(memorySource(data), hash.write, { ...shape, salt: fromHex(vector.salt), uuid: vector.uuid });
    const fec = fecLayout(layout, { roots: vector.roots, hashEnd: layout.size });
    const parity = memoryTarget();
    await buildFec(memorySource(data), memorySource(hash.bytes(layout.size)), fec, parity.write);
    expect(
      [toHex(rootHash), fec.size, sha256(parity.bytes(fec.size))],
      "the bytes of fec/1 changed: before 0.1.0 update the vector and docs/bytes/fec.md, after it write fec/2",
    ).toEqual([vector.rootHash, vector.size, vector.sha256]);
  });

  oracle("veritysetup").each(vectors)("the recipe of docs/bytes/fec.md, run as it stands there: $name", (vector) => {
    const folder = mkdtempSync(join(tmpdir(), "imgkit-vectors-"));
    try {
      writeFileSync(join(folder, "data.img"), dataOf(vector));
      const page = readFileSync(new URL("../../../docs/bytes/fec.md", import.meta.url), "utf8");
      const [, recipe = "false"] = /```sh\n(.*?)```/s.exec(page) ?? [];
      const variables = {
        DATA: "data.img",
        ALGORITHM: vector.hash,
        BLOCK: `${vector.blockSize}`,
        SALT: vector.salt || "-",
        UUID: vector.uuid,
        ROOTS: `${vector.roots}`,
      };
      const env = { PATH: process.env.PATH, LC_ALL: "C.UTF-8", ...variables };
      const printed = execFileSync("sh", ["-euc", recipe], { cwd: folder, env, encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] });
      expect(printed).toBe(`${vector.rootHash}\n${vector.sha256}  -\n`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
