import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { collect } from "@imgkit/bytes";
import { writeTar } from "@imgkit/core";
import { expect, test } from "vitest";
import { recordedTree } from "../../../test/conformance/trees.ts";
import { version } from "../src/version.ts";
import { finished, start } from "./cli.ts";

// The record of a whole run with fixed input: what imgkit.record/1 looks like, byte for byte, less the version that ran.

test("the published vector of imgkit.record/1 is what a run writes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-record-"));
  try {
    writeFileSync(join(folder, "in.tar"), await collect(writeTar(recordedTree(), { epoch: 1_600_000_000 })));
    const child = start(["rootfs", "in.tar", "--epoch", "1500000000", "-q", "-o", "out.tar", "--record", "record.json"], { cwd: folder });
    const { code } = await finished(child);
    expect(code).toBe(0);
    const written = readFileSync(join(folder, "record.json"), "utf8").replace(`"imgkit": "${version()}"`, '"imgkit": "VERSION"');
    const vector = readFileSync(new URL("../../../fixtures/vectors/record-1.json", import.meta.url), "utf8");
    const changed = "the form of imgkit.record/1 changed: before 0.1.0 update the vector and docs/bytes/record-1.md, after it write record/2";
    expect(written, changed).toBe(vector);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
