import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { dataOf, type FecVector } from "../../../test/conformance/verity.ts";
import { oracle } from "../../../test/oracle.ts";

const { vectors } = JSON.parse(readFileSync(new URL("../../../fixtures/vectors/fec-1.json", import.meta.url), "utf8")) as { vectors: readonly FecVector[] };
describe("fixtures/vectors/fec-1.json", () => {
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
