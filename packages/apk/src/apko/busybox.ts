// Links to busybox, by apko's pkg/build/busybox.go: the package's own list stands in /etc/busybox-paths.d.
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";
import type { PackageInfo } from "../package.ts";

const BUSYBOX = "/bin/busybox";

/** @throws ApkError UNSUPPORTED for a busybox without a list of its links. */
export async function linkBusybox(root: Root, installed: readonly PackageInfo[]): Promise<void> {
  const busybox = root.get(root.resolve(BUSYBOX));
  if (busybox === undefined) return;
  const provider = installed.find(({ name, provides }) => name === "busybox" || provides.some((provide) => provide.includes("busybox")));
  const list = provider === undefined ? undefined : await root.text(`etc/busybox-paths.d/${provider.name}`);
  if (list === undefined) {
    throw new ApkError("UNSUPPORTED", "a busybox that does not list its links", {
      path: BUSYBOX,
      expected: `/etc/busybox-paths.d/${provider?.name ?? "PACKAGE"}`,
      hint: "Use a package of busybox that has the list, as Wolfi's do.",
    });
  }
  for (const link of list.split("\n")) {
    const slash = link.lastIndexOf("/");
    if (link === "" || link === BUSYBOX || slash < 0) continue;
    const folder = root.resolve(link.slice(0, slash));
    root.folder(folder);
    const node = root.get(folder);
    // As apko has it: the folder's time is the program's.
    if (node !== undefined && folder !== "") root.put({ ...node, mtime: busybox.mtime }, root.origin(folder));
    const path = `${folder === "" ? "" : `${folder}/`}${link.slice(slash + 1)}`;
    if (root.get(path) === undefined) root.symlink(path, BUSYBOX);
  }
}
