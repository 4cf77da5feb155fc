import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { long, oracleRoot } from "../../../test/oracle.ts";

const imgkit = fileURLToPath(new URL("../bin/imgkit.cjs", import.meta.url));
// A long test needs both: its oracles and the time.
const test = process.env.IMGKIT_LONG === "1" ? oracleRoot("mmdebstrap", "faketime") : long();

test.each(["bookworm", "trixie"])(
  "%s, built twice by mmdebstrap with clocks an hour apart, is one tar",
  (suite) => {
    const folder = mkdtempSync(join(tmpdir(), "imgkit-clock-"));
    try {
      const digest = (shift: string): string => {
        const bin = join(folder, `bin${shift}`);
        mkdirSync(bin);
        // imgkit hands no variables of its caller to mmdebstrap, so the clock is bent by what stands before it on the PATH. The times of
        // files stay true: what is to be found is whatever a build writes down.
        writeFileSync(join(bin, "mmdebstrap"), `#!/bin/sh\nNO_FAKE_STAT=1 exec faketime -f '${shift}' /usr/bin/mmdebstrap "$@"\n`);
        chmodSync(join(bin, "mmdebstrap"), 0o755);
        const args = ["rootfs", `mmdebstrap:${suite}`, "--epoch", "1700000000", "--json", "-o", `${suite}${shift}.tar`];
        const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
        return JSON.parse(execFileSync(process.execPath, [imgkit, ...args], { cwd: folder, encoding: "utf8", env })).output.digest;
      };
      expect(digest("+3600s")).toBe(digest("+0s"));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  900_000,
);
