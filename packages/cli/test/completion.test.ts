import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { scrubProfiles } from "@imgkit/core";
import { afterAll, describe, expect, test } from "vitest";
import { oracle } from "../../../test/oracle.ts";
import { here, Scratch } from "./cli.ts";

const scratch = new Scratch("completion");
afterAll(() => scratch.remove());

async function script(shell: string): Promise<string> {
  const result = await here(["completion", shell]);
  expect(result).toMatchObject({ code: 0, stderr: "" });
  return scratch.write(`imgkit.${shell}`, result.stdout);
}

for (const shell of ["bash", "zsh", "fish"]) {
  oracle(shell)(`the script for ${shell} parses`, async () => {
    execFileSync(shell, ["-n", await script(shell)], { stdio: "pipe" });
  });
}

describe("bash completes", () => {
  /** What bash offers for a line whose last word is being typed. */
  async function offers(...words: string[]): Promise<string[]> {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash's
    const code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _imgkit; for word in "${COMPREPLY[@]}"; do echo "$word"; done';
    const out = execFileSync("bash", ["--norc", "-c", code, "bash", await script("bash"), "imgkit", ...words], { encoding: "utf8", cwd: scratch.path });
    return out.split("\n").slice(0, -1);
  }

  oracle("bash")("commands, and the actions of verity", async () => {
    expect(await offers("rootf")).toEqual(["rootfs"]);
    expect(await offers("")).toEqual(expect.arrayContaining(["rootfs", "image", "disk", "verify", "verity", "completion"]));
    expect(await offers("ver")).toEqual(["verify", "verity"]);
    expect(await offers("verity", "")).toEqual(expect.arrayContaining(["format", "verify", "dump", "root"]));
    expect(await offers("verity", "fo")).toEqual(["format"]);
    expect(await offers("completion", "z")).toEqual(["zsh"]);
  });

  oracle("bash")("the options of each command, and of no other", async () => {
    expect(await offers("rootfs", "--ep")).toEqual(["--epoch"]);
    expect(await offers("rootfs", "x", "--xattr-")).toEqual(["--xattr-include", "--xattr-exclude"]);
    expect(await offers("rootfs", "--plat")).toEqual(["--platform"]);
    expect(await offers("image", "--entry")).toEqual(["--entrypoint"]);
    expect(await offers("rootfs", "--entry")).toEqual([]);
    expect(await offers("verity", "format", "--sa")).toEqual(["--salt"]);
    expect(await offers("verity", "dump", "--uuid")).toEqual([]);
  });

  oracle("bash")("the values of an option that takes one of a few", async () => {
    expect(await offers("rootfs", "--profile", "")).toEqual(Object.keys(scrubProfiles));
    expect(await offers("rootfs", "--profile", "no")).toEqual(["none"]);
    expect(await offers("disk", "--arch", "ar")).toEqual(["arm64"]);
    expect(await offers("verify", "--as", "")).toEqual(["tar", "layout", "disk"]);
  });

  oracle("bash")("files elsewhere, blanks in their names too", async () => {
    fs.writeFileSync(scratch.at("root fs.tar"), "");
    expect(await offers("rootfs", "root")).toEqual(["root fs.tar"]);
    expect(await offers("rootfs", "x", "-o", "root")).toEqual(["root fs.tar"]);
  });

  oracle("bash")("it is registered for the command", async () => {
    expect(execFileSync("bash", ["--norc", "-c", 'source "$1"; complete -p imgkit', "bash", await script("bash")], { encoding: "utf8" })).toMatch(
      /-F _imgkit imgkit/,
    );
  });
});

oracle("fish")("fish completes commands, options and values", async () => {
  const path = await script("fish");
  const offers = (line: string): string[] =>
    execFileSync("fish", ["--no-config", "-c", "source $argv[1]; complete --do-complete $argv[2]", path, line], {
      encoding: "utf8",
      env: { ...process.env, HOME: scratch.path },
    })
      .trimEnd()
      .split("\n")
      .map((offer) => offer.split("\t")[0] ?? "");
  expect(offers("imgkit rootf")).toEqual(["rootfs"]);
  expect(offers("imgkit verity f")).toEqual(["format"]);
  expect(offers("imgkit rootfs --ep")).toEqual(["--epoch"]);
  expect(offers("imgkit rootfs --profile ")).toEqual(Object.keys(scrubProfiles).sort());
});

test("a shell that is not known is refused with those that are", async () => {
  const result = await here(["completion", "tcsh"]);
  expect(result.code).toBe(2);
  expect(result.stderr).toMatch(/bash, zsh, fish/);
});
