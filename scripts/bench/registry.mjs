// Debian's docker-registry for a benchmark, and what was pushed to it held against the folder that it was made from.

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Calls `use` with a registry whose files are in `folder`, which is made; it ends when that returns. */
export function withRegistry(folder, use) {
  const [data, config, log] = ["data", "config.yml", "log"].map((name) => join(folder, name));
  mkdirSync(data, { recursive: true });
  // JSON is YAML. Without a cache it sees that its files went.
  const storage = { filesystem: { rootdirectory: data }, maintenance: { uploadpurging: { enabled: false } } };
  writeFileSync(config, JSON.stringify({ version: "0.1", log: { accesslog: { disabled: true } }, storage, http: { addr: "127.0.0.1:0" } }));
  const fd = openSync(log, "w");
  const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", fd, fd] });
  closeSync(fd);
  try {
    const clear = () => rmSync(join(data, "docker"), { recursive: true, force: true });
    use({ host: waitForHost(log), clear });
  } finally {
    child.kill();
  }
}

/** A benchmark has no event loop to wait in. */
function waitForHost(log) {
  for (let i = 0; i < 200; i++) {
    const host = /listening on (127\.0\.0\.1:\d+)/.exec(readFileSync(log, "utf8"))?.[1];
    if (host !== undefined) return host;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  }
  throw new Error(`docker-registry did not start: ${readFileSync(log, "utf8")}`);
}

/** What a registry has under a reference: the digest of its manifest, and the bytes of its layers. */
export function inspect(reference) {
  const manifest = execFileSync("skopeo", ["inspect", "--raw", "--tls-verify=false", `docker://${reference}`]);
  const { layers } = JSON.parse(manifest);
  return { digest: createHash("sha256").update(manifest).digest("hex"), bytes: layers.reduce((sum, { size }) => sum + size, 0) };
}

/**
 * Unpacks an image of a registry with skopeo and umoci.
 * @throws Error when it is not the folder: to GNU tar the two must look the same, but for the time of the root itself.
 */
export function requireEqual(reference, folder, out) {
  const layout = join(out, "check");
  const bundle = join(out, "check-bundle");
  const remove = () => {
    for (const path of [layout, bundle]) rmSync(path, { recursive: true, force: true });
  };
  remove();
  execFileSync("skopeo", ["copy", "-q", "--src-tls-verify=false", `docker://${reference}`, `oci:${layout}:check`]);
  execFileSync("umoci", ["unpack", "--image", `${layout}:check`, bundle], { stdio: ["ignore", "ignore", "pipe"] });
  const unpacked = join(bundle, "rootfs");
  const { atime, mtime } = statSync(folder);
  utimesSync(unpacked, atime, mtime);
  if (treeDigest(unpacked) !== treeDigest(folder)) throw new Error(`${reference} is not ${folder}: compare it with ${unpacked}`);
  remove();
}

function treeDigest(folder) {
  const options =
    "--sort=name --format=posix --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --numeric-owner --xattrs --xattrs-include='*'";
  const command = `tar ${options} -C "$1" -cf - . | sha256sum`;
  return execFileSync("bash", ["-o", "pipefail", "-c", command, "tar", folder], { encoding: "utf8" });
}
