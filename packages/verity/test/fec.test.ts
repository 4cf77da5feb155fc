import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource } from "@imgkit/bytes";
import { afterAll, expect } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { buildFec, fecLayout, repairVerity, buildTree, verifyFec } from "../src/index.ts";
import { noise, memoryTarget, veritysetupFlags, uuid } from "./sample.ts";
const folder = mkdtempSync(join(tmpdir(), "imgkit-fec-"));
afterAll(() => rmSync(folder, { recursive: true }));
oracle("veritysetup")("spike", async () => {
  for (const roots of [2, 3, 4, 5, 8, 23, 24]) for (const blocks of [1, 2, 300, 1000]) {
    const data = noise(blocks * 4096, roots);
    const t = memoryTarget();
    const { layout, rootHash } = await buildTree(memorySource(data), t.write, { hash: "sha256", hashType: 1, dataBlockSize: 4096, hashBlockSize: 4096, salt: noise(32, 1), uuid });
    const hash = t.bytes(layout.size);
    const fec = fecLayout(layout, { roots, hashEnd: hash.length });
    const p = memoryTarget();
    await buildFec(memorySource(data), memorySource(hash), fec, p.write);
    const parity = p.bytes(fec.size);
    const d = join(folder, "d"), h = join(folder, "h"), f = join(folder, "f");
    rmSync(f, { force: true });rmSync(h, { force: true });
    writeFileSync(d, data);
    const r = spawnSync("veritysetup", ["format", d, h, `--uuid=${uuid}`, `--fec-device=${f}`, `--fec-roots=${roots}`, ...veritysetupFlags(layout)], { encoding: "utf8" });
    expect(r.stderr).toBe("");
    expect(Buffer.compare(parity, readFileSync(f)), `${roots} ${blocks}`).toBe(0);
    expect(await verifyFec(memorySource(data), memorySource(hash), memorySource(parity), fec)).toMatchObject({ ok: true });
    // damage
    const bd = data.slice(), bh = hash.slice(), bp = parity.slice();
    const n = Math.min(blocks, roots * fec.rounds);
    const start = (blocks - n) >> 1;
    bd.fill(0x55, start * 4096, (start + n) * 4096);
    const result = await repairVerity({ data: memorySource(bd), hash: memorySource(bh), write: (s, o, b) => (s === "data" ? bd : bh).set(b, o) }, memorySource(bp), rootHash, layout, fec);
    expect(result, `${roots} ${blocks}`).toMatchObject({ ok: true });
    expect(Buffer.compare(bd, data)).toBe(0);
  }
});
