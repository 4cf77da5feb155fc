import { memorySource } from "@imgkit/bytes";
import type { InodeNode } from "../node.ts";
import { parentOf } from "../path.ts";
import type { Tree } from "../tree.ts";
import { pathMatcher } from "./glob.ts";
import type { Change, Normalised } from "./step.ts";

/** One thing that a profile takes out of a tree. */
export interface ScrubRule {
  /**
   * `contents`: all below the directory, not the directory itself. `node`: this path, with what is below it. `empty`: a file's
   * content, not the file.
   */
  readonly what: "contents" | "node" | "empty";
  readonly path: string;
  /** Names right below `path` that stay, with what is in them. */
  readonly except?: readonly string[];
  /** Patterns of whole paths that stay, with the folders above them; see `pathMatcher`. */
  readonly keep?: readonly string[];
  /** Why it may not be in an image that others shall recompute. */
  readonly reason: string;
}

export interface ScrubProfile {
  readonly name: string;
  readonly rules: readonly ScrubRule[];
}

const contents = (path: string, reason: string, except?: readonly string[]): ScrubRule => ({
  what: "contents",
  path,
  reason,
  ...(except === undefined ? {} : { except }),
});
const node = (path: string, reason: string): ScrubRule => ({ what: "node", path, reason });

const runtime = "made anew at each boot; what is there is the building host's";
const cache = "a cache of apt, with the time of the build in it";
const log = "a log of the build, with its clock";

const ofTheRunningSystem: readonly ScrubRule[] = [
  contents("proc", runtime),
  contents("sys", runtime),
  contents("dev", runtime),
  contents("tmp", "temporary files of the build"),
  contents("run", runtime, ["lock"]),
];

/** After debuerreotype's .tar-exclude and mmdebstrap's run_cleanup. */
const debian: ScrubProfile = {
  name: "debian",
  rules: [
    ...ofTheRunningSystem,
    contents("var/cache/apt", cache),
    contents("var/lib/apt/lists", "package lists as they were on the day of the build; apt update fetches them"),
    contents("var/state/apt/lists", "package lists as they were on the day of the build; apt update fetches them"),
    node("var/log/dpkg.log", log),
    node("var/log/bootstrap.log", log),
    node("var/log/alternatives.log", log),
    node("var/log/apt/history.log", log),
    node("var/log/apt/term.log", log),
    node("var/log/apt/eipp.log.xz", log),
    node("var/cache/ldconfig/aux-cache", "ldconfig's cache holds inode numbers and times of the build"),
    node("var/lib/dbus/machine-id", "a random identity: two machines of one image may not share it"),
    node("var/lib/systemd/catalog/database", "a database in an order that differs from run to run; journalctl --update-catalog makes it"),
    node("etc/apt/apt.conf.d/01autoremove-kernels", "made from the kernels of the building host"),
    node("etc/apt/apt.conf.d/00mmdebstrap", "mmdebstrap's own settings for the build"),
    node("etc/apt/trustdb.gpg", "gpg's trust database holds the time of the build"),
    { what: "empty", path: "etc/machine-id", reason: "a random identity; an empty file lets systemd make one at the first boot" },
  ],
};

const readable = "for people who read it: a small image goes without";

/** After Debian's slim images (debuerreotype-slimify). */
const debianSlim: ScrubProfile = {
  name: "debian-slim",
  rules: [
    ...debian.rules,
    // Licences ask for the copyright files to stay, and some packages' folder is a link to another's.
    { what: "contents", path: "usr/share/doc", keep: ["usr/share/doc/*/copyright"], reason: readable },
    ...["info", "linda", "locale", "man"].map((name) => contents(`usr/share/${name}`, readable)),
  ],
};

/** What apk-tools and a running system leave behind. */
const wolfi: ScrubProfile = {
  name: "wolfi",
  rules: [
    ...ofTheRunningSystem,
    contents("var/cache/apk", "a cache of apk; apk update fetches it"),
    contents("etc/apk/cache", "a cache of apk; apk update fetches it"),
    node("var/log/apk.log", log),
    node("lib/apk/db/lock", "a lock of the running apk"),
    node("usr/lib/apk/db/lock", "a lock of the running apk"),
    { what: "empty", path: "etc/machine-id", reason: "a random identity; an empty file lets systemd make one at the first boot" },
  ],
};

export const scrubProfiles: Readonly<Record<"debian" | "debian-slim" | "wolfi" | "none", ScrubProfile>> = {
  debian,
  "debian-slim": debianSlim,
  wolfi,
  none: { name: "none", rules: [] },
};

/**
 * Takes out what a profile names. A hard link to a removed file keeps the content; emptying a file empties all names of it, as
 * writing to one of them would.
 */
export function scrub(tree: Tree, profile: ScrubProfile): Normalised {
  const changes: Change[] = [];
  const removals = profile.rules.filter((rule) => rule.what !== "empty");
  const kept = keptPaths(tree, removals);
  const emptied = inodesToEmpty(tree, profile);
  const out = tree.map((given) => {
    const { path } = given;
    const removal = kept.has(path) ? undefined : removals.find((rule) => isRemoved(path, rule));
    if (removal !== undefined) {
      changes.push({ path, action: "removed", detail: removal.reason });
      return undefined;
    }
    const rule = emptied.get(tree.inode(tree.get(path) ?? given));
    if (rule === undefined) return given;
    changes.push({ path, action: "emptied", detail: rule.path === path ? rule.reason : `a further name of ${rule.path}: ${rule.reason}` });
    return given.type === "file" ? { ...given, content: memorySource(new Uint8Array(0)) } : given;
  });
  return { tree: out, changes };
}

/** What the rules' patterns keep, with the folders above; a link between two kept folders' places stays as well. */
function keptPaths(tree: Tree, rules: readonly ScrubRule[]): ReadonlySet<string> {
  const kept = new Set<string>();
  for (const rule of rules.filter((r) => r.keep !== undefined)) {
    const patterns = (rule.keep ?? []).map(pathMatcher);
    for (const node of tree) {
      const linked = node.type === "symlink" && parentOf(node.path) === rule.path;
      if (!linked && !patterns.some((matches) => matches(node.path))) continue;
      for (let at = node.path; at !== "" && !kept.has(at); at = parentOf(at)) kept.add(at);
    }
  }
  return kept;
}

/** The rule of a profile that takes a path out or empties it, if any does. */
export function scrubRuleOf(path: string, profile: ScrubProfile): ScrubRule | undefined {
  return profile.rules.find((rule) => (rule.what === "empty" ? rule.path === path : isRemoved(path, rule)));
}

function inodesToEmpty(tree: Tree, profile: ScrubProfile): ReadonlyMap<InodeNode, ScrubRule> {
  const inodes = new Map<InodeNode, ScrubRule>();
  for (const rule of profile.rules) {
    const node = rule.what === "empty" ? tree.get(rule.path) : undefined;
    const inode = node === undefined ? undefined : tree.inode(node);
    if (inode?.type === "file" && inode.content.size > 0) inodes.set(inode, rule);
  }
  return inodes;
}

function isRemoved(path: string, rule: ScrubRule): boolean {
  if (!path.startsWith(rule.path)) return false;
  if (path.length === rule.path.length) return rule.what === "node";
  if (path[rule.path.length] !== "/") return false;
  const name = path.slice(rule.path.length + 1).split("/", 1)[0] ?? "";
  return !(rule.except?.includes(name) ?? false);
}
