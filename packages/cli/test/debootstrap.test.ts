import { execFileSync } from "node:child_process";
import { expect } from "vitest";
import { long, oracleRoot } from "../../../test/oracle.ts";
import { epoch, here, json, Scratch } from "./cli.ts";

// A long test needs both: its oracles and the time.
const test = process.env.IMGKIT_LONG === "1" ? oracleRoot("mmdebstrap", "debootstrap") : long();

test("a plain debootstrap tree beside mmdebstrap's: every difference has a cause that is known", { timeout: 900_000 }, async () => {
  const scratch = new Scratch("debootstrap");
  try {
    const [tar, tree] = [scratch.at("mmdebstrap.tar"), scratch.at("tree")];
    const made = await here(["rootfs", "mmdebstrap:bookworm?variant=minbase", "-o", tar, "--profile", "none", ...epoch, "-q"]);
    expect(made).toMatchObject({ code: 0, stderr: "" });
    execFileSync("debootstrap", ["--variant=minbase", "bookworm", tree, "http://deb.debian.org/debian"], { stdio: "ignore" });
    const { differences, causes } = json(await here(["diff", tar, tree, "--json"]), 1);
    expect(differences.length).toBeGreaterThan(1000);
    expect(differences.filter((one: { causes: { code: string }[] }) => one.causes.some(({ code }) => code === "unknown"))).toEqual([]);
    expect(causes.map(({ code }: { code: string }) => code)).toContain("scrubbed");
  } finally {
    scratch.remove();
  }
});
