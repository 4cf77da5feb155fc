// What is in an image before any package, and what stands around the database: apko's InitDB.
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";

const folders: readonly (readonly [path: string, mode: number])[] = [
  ["tmp", 0o1777],
  ["dev", 0o755],
  ["etc", 0o755],
  ["opt", 0o755],
  ["proc", 0o555],
  ["var", 0o755],
  ["usr", 0o755],
  ["etc/apk", 0o755],
  ["etc/apk/keys", 0o755],
  ["usr/lib", 0o755],
  ["usr/lib/apk", 0o755],
  ["usr/lib/apk/db", 0o755],
  ["usr/lib/apk/exec", 0o755],
  ["var/cache", 0o755],
  ["var/cache/apk", 0o755],
  ["var/cache/misc", 0o755],
];

const devices: readonly (readonly [path: string, major: number, minor: number, mode: number])[] = [
  ["dev/zero", 1, 5, 0o666],
  ["dev/urandom", 1, 9, 0o666],
  ["dev/null", 1, 3, 0o666],
  ["dev/random", 1, 8, 0o666],
  ["dev/console", 5, 1, 0o620],
];

/** Folders, devices, keys (PEM by name), the architecture and the world: packages with their versions, sorted. */
export function makeBase(root: Root, architecture: string, world: readonly string[], keys: ReadonlyMap<string, string>): void {
  root.put({ type: "directory", ...root.meta("", 0o755) });
  for (const [path, mode] of folders) root.folder(path, mode);
  for (const [path, major, minor, mode] of devices) root.put({ type: "char", ...root.meta(path, mode), major, minor });
  root.file("usr/lib/apk/db/lock", "", 0o600);
  root.file("etc/apk/arch", `${architecture}\n`);
  root.file("etc/apk/world", lines(world));
  for (const [name, pem] of keys) root.file(`etc/apk/keys/${name}`, pem);
}

/**
 * Where apk-tools looks for the database by its old name. `merged`: some package, which may be in the image below, has /lib for a link to /usr/lib;
 * a folder would hide that.
 */
export function linkDatabase(root: Root, merged: boolean): void {
  if (root.resolve("lib/apk") === "usr/lib/apk") return;
  if (merged && root.get("lib") === undefined) {
    root.symlink("lib", "usr/lib");
    return;
  }
  root.folder("lib");
  if (root.get("lib/apk") !== undefined) throw new ApkError("FILE_CONFLICT", "a package brings its own database", { path: "lib/apk" });
  root.symlink("lib/apk", "../usr/lib/apk");
}

export function lines(texts: readonly string[]): string {
  return `${texts.join("\n")}\n`;
}
