import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { oracleRoot } from "../../../test/oracle.ts";
import { openFile } from "../src/index.node.ts";

oracleRoot("losetup", "loop").each([512, 1536, 1 << 20, 5_000_192])("a block device of %i bytes has that size and its file's bytes", (size) => {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-bytes-"));
  const path = join(folder, "disk");
  writeFileSync(
    path,
    Uint8Array.from({ length: size }, (_, i) => (i * 7) & 0xff),
  );
  const device = execFileSync("losetup", ["--find", "--show", path], { encoding: "utf8" }).trim();
  try {
    const source = openFile(device);
    expect(source.size).toBe(size);
    expect(source.read(size - 2, size)).toEqual(Uint8Array.of(((size - 2) * 7) & 0xff, ((size - 1) * 7) & 0xff));
    source.close();
  } finally {
    execFileSync("losetup", ["--detach", device]);
    rmSync(folder, { recursive: true });
  }
});
