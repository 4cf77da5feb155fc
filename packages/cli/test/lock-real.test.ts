import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { long, oracleRoot } from "../../../test/oracle.ts";

const imgkit = fileURLToPath(new URL("../bin/imgkit.cjs", import.meta.url));
// A long test needs both: its oracles and the time.
const test = process.env.IMGKIT_LONG === "1" ? oracleRoot("mmdebstrap", "unshare", "ip") : long();

test("Debian built from a lock with the network cut is the Debian built from its mirror", () => {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-lock-real-"));
  const run = (...args: string[]): string => execFileSync(process.execPath, [imgkit, ...args], { encoding: "utf8", cwd: folder });
  try {
    const source = "mmdebstrap:bookworm?variant=minbase";
    const epoch = ["--epoch", "1700000000", "--json"];
    run("lock", source, "-o", "image.lock.json", "--cache", "cache");
    const direct = JSON.parse(run("rootfs", source, "-o", "direct.tar", ...epoch));
    const command = [process.execPath, imgkit, "rootfs", "image.lock.json", "--cache", "cache", "--offline", "-o", "replay.tar", ...epoch];
    const cut = `ip link set lo up && exec ${command.map((word) => `'${word}'`).join(" ")}`;
    const replay = JSON.parse(execFileSync("unshare", ["--net", "sh", "-c", cut], { encoding: "utf8", cwd: folder }));
    expect(replay.output.digest).toBe(direct.output.digest);
    expect(JSON.parse(readFileSync(join(folder, "image.lock.json"), "utf8")).packages.length).toBeGreaterThan(80);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 600_000);
