import { execFileSync } from "node:child_process";
import { expect } from "vitest";
import { long, oracleRoot } from "../../../test/oracle.ts";
import { epoch, here, json, Scratch } from "./cli.ts";

// A long test needs both: its oracles and the time.
const test = process.env.IMGKIT_LONG === "1" ? oracleRoot("mmdebstrap", "debootstrap") : long();

const mirror = "http://deb.debian.org/debian";

test("a plain debootstrap tree of the same packages beside mmdebstrap's: every difference has a cause that is known", { timeout: 900_000 }, async () => {
  const scratch = new Scratch("debootstrap");
  try {
    const [tar, tree] = [scratch.at("mmdebstrap.tar"), scratch.at("tree")];
    const made = await here(["rootfs", `mmdebstrap:bookworm?variant=minbase&mirror=${mirror}`, "-o", tar, "--profile", "none", ...epoch, "-q"]);
    expect(made).toMatchObject({ code: 0, stderr: "" });
    const status = (await here(["cat", tar, "var/lib/dpkg/status"])).stdout.toString();
    const packages = [...status.matchAll(/^Package: (.*)$/gm)].map(([, name]) => name);
    execFileSync("debootstrap", ["--variant=minbase", `--include=${packages.join(",")}`, "bookworm", tree, mirror], { stdio: "ignore" });
    const { differences, causes } = json(await here(["diff", tar, tree, "--json"]), 1);
    expect(differences.length).toBeGreaterThan(1000);
    expect(differences.filter((one: { causes: { code: string }[] }) => one.causes.some(({ code }) => code === "unknown"))).toEqual([]);
    expect(causes.map(({ code }: { code: string }) => code)).toContain("scrubbed");
    // debootstrap has its own ways to merge /usr: what is left of other packages is no more than that.
    const others = differences.filter((one: { causes: { code: string }[] }) => one.causes.some(({ code }) => code === "package-version"));
    expect(others.length).toBeLessThan(50);
  } finally {
    scratch.remove();
  }
});
