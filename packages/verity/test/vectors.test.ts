import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { dataOf, type GptVector, type ProofVector, proofOf, type VerityVector } from "../../../test/conformance/verity.ts";
import { oracle } from "../../../test/oracle.ts";

const read = <T>(name: string): readonly T[] => JSON.parse(readFileSync(new URL(`../../../fixtures/vectors/${name}`, import.meta.url), "utf8")).vectors;
const verity = read<VerityVector>("verity-1.json");
const proofs = read<ProofVector>("proof-1.json");
const gpt = read<GptVector>("gpt-1.json");
/** The shell blocks of a page in docs/bytes, or those of another language. */
function recipes(page: string, language = "sh"): string[] {
  const text = readFileSync(new URL(`../../../docs/bytes/${page}`, import.meta.url), "utf8");
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "gs"))].map((match) => match[1] ?? "");
}

function run(recipe: string | undefined, folder: string, variables: Readonly<Record<string, string>>): string[] {
  const env = { PATH: process.env.PATH, LC_ALL: "C.UTF-8", ...variables };
  return execFileSync("sh", ["-euc", recipe ?? "false"], { cwd: folder, env, encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] })
    .trim()
    .split("\n")
    .map((line) => line.replace(/ +-$/, ""));
}

function inFolder<T>(job: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-vectors-"));
  try {
    return job(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("fixtures/vectors/verity-1.json", () => {
  oracle("veritysetup").each(verity)("the recipe of docs/bytes/verity.md, run as it stands there: $name", (vector) => {
    inFolder((folder) => {
      writeFileSync(join(folder, "data.img"), dataOf(vector));
      const variables = {
        DATA: "data.img",
        ALGORITHM: vector.hash,
        TYPE: String(vector.hashType),
        DATA_BLOCK: String(vector.dataBlockSize),
        HASH_BLOCK: String(vector.hashBlockSize),
        SALT: vector.salt === "" ? "-" : vector.salt,
        UUID: vector.uuid,
        OFFSET: String(vector.hashOffset),
      };
      expect(run(recipes("verity.md")[0], folder, variables)).toEqual([vector.rootHash, vector.sha256]);
    });
  });

  // Two processes for each block: the smaller ones are enough.
  const small = verity.filter((v) => dataOf(v).length <= 136 * 4096);
  const plain = small.filter((v) => v.hash === "sha256" && v.hashType === 1 && v.dataBlockSize === 4096 && v.hashBlockSize === 4096);
  oracle("split", "xxd", "sha256sum").each(plain)("the recipe with coreutils alone: $name", (vector) => {
    inFolder((folder) => {
      writeFileSync(join(folder, "data.img"), dataOf(vector));
      expect(run(recipes("verity.md")[1], folder, { DATA: "data.img", SALT: vector.salt === "" ? "-" : vector.salt })).toEqual([vector.rootHash]);
    });
  });
});

describe("fixtures/vectors/proof-1.json", () => {
  const plain = proofs.filter((v) => v.hash === "sha256" && v.hashType === 1 && v.dataBlockSize === 4096 && v.hashBlockSize === 4096);

  oracle("jq", "xxd", "base64", "sha256sum", "awk").each(plain)("the recipe of docs/bytes/proof-1.md, run as it stands there: $name", async (vector) => {
    const bytes = await proofOf(vector);
    const data = dataOf(vector);
    inFolder((folder) => {
      const proof = join(folder, "proof.json");
      writeFileSync(proof, bytes);
      const variables = { PROOF: proof, ROOT: vector.rootHash, BLOCKS: String(data.length / 4096) };
      const [recipe] = recipes("proof-1.md");
      expect(run(recipe, folder, variables)).toEqual(["proven"]);
      for (const block of vector.blocks) expect(readFileSync(join(folder, `data.${block}`)).equals(data.subarray(block * 4096, (block + 1) * 4096))).toBe(true);
      expect(() => run(recipe, folder, { ...variables, ROOT: "0".repeat(64) })).toThrow();
      expect(() => run(recipe, folder, { ...variables, BLOCKS: String(data.length / 4096 + 1000) })).toThrow();
    });
  });

  test.each(plain)("the program of docs/bytes/proof-1.md, run as it stands there: $name", async (vector) => {
    const bytes = await proofOf(vector);
    const blocks = String(dataOf(vector).length / 4096);
    inFolder((folder) => {
      const [program, proof] = [join(folder, "verify.mjs"), join(folder, "proof.json")];
      writeFileSync(program, recipes("proof-1.md", "js")[0] ?? "");
      writeFileSync(proof, bytes);
      const verify = (root: string): string =>
        execFileSync(process.execPath, [program, proof, root, blocks], { encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] });
      expect(verify(vector.rootHash)).toBe(`${vector.blocks.join(" ")}\n`);
      expect(() => verify("0".repeat(64))).toThrow();
    });
  });
});

describe("fixtures/vectors/gpt-1.json", () => {
  oracle("sfdisk").each(gpt.filter((v) => v.sectorSize === 512))("the recipe of docs/bytes/gpt.md, run as it stands there: $name", (vector) => {
    inFolder((folder) => {
      const lines = vector.partitions.map((p) => {
        const bits = Array.from({ length: 64 }, (_, i) => i).filter((i) => (BigInt(p.attributes) >> BigInt(i)) & 1n);
        return `${p.number} : start=${p.firstLba}, size=${p.lastLba - p.firstLba + 1}, type=${p.type}, uuid=${p.uuid}, name="${p.name}", attrs="${bits.map((i) => `GUID:${i}`).join(" ")}"`;
      });
      const variables = { SECTORS: String(vector.sectors), DISK_GUID: vector.diskGuid, TABLE: lines.join("\n") };
      expect(run(recipes("gpt.md")[0], folder, variables)).toEqual([vector.primary, vector.backup]);
    });
  });
});
