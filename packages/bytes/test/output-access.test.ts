import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { posix } from "../../../test/oracle.ts";
import { createOutput } from "../src/index.node.ts";

const folder = mkdtempSync(join(tmpdir(), "imgkit-access-"));
afterAll(() => rmSync(folder, { recursive: true }));

posix()("a private file that is replaced stays private, through a symbolic link too, and its owner keeps it", () => {
  const path = join(folder, "disk.raw");
  const link = join(folder, "link");
  writeFileSync(path, "old");
  symlinkSync(path, link);
  if (process.getuid?.() === 0) chownSync(path, 12, 34);
  chmodSync(path, 0o600);
  const { uid, gid } = statSync(path);
  for (const name of [path, link]) {
    const output = createOutput(name);
    output.append(Uint8Array.of(1));
    output.commit();
    const after = statSync(path);
    expect([after.size, after.mode & 0o7777, after.uid, after.gid]).toEqual([1, 0o600, uid, gid]);
  }
});
