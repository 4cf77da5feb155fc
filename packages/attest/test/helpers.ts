import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

const folders: string[] = [];

/** A folder of its own for one test, removed after the file's tests. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "imgkit-attest-"));
  folders.push(folder);
  return folder;
}

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** What a tool prints on both channels; throws when it exits with another code than 0. */
export function run(tool: string, ...args: string[]): string {
  return execFileSync(tool, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export function read(...path: string[]): Uint8Array {
  return new Uint8Array(readFileSync(join(...path)));
}

export function write(file: string, bytes: Uint8Array): string {
  writeFileSync(file, bytes);
  return file;
}

/** A file of test/keys: see its README. */
export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`keys/${name}`, import.meta.url)));
}

export function fixturePath(name: string): string {
  return new URL(`keys/${name}`, import.meta.url).pathname;
}
