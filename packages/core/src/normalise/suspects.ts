import { collect, decodeName, streamSource } from "@imgkit/bytes";
import type { FileNode, TreeNode } from "../node.ts";
import { nameOf } from "../path.ts";
import type { Tree } from "../tree.ts";

/** Something that is likely to differ from build to build, or that tells of the host that built. It is reported, never removed. */
export interface Suspect {
  readonly path: string;
  readonly code: "HOST_KEY" | "HOST_IDENTITY" | "RANDOM_SEED" | "HOST_CONFIGURATION" | "PASSWORD_DATE" | "PYTHON_CACHE" | "BUILD_LOG" | "BUILD_PATH";
  readonly detail: string;
}

interface Rule {
  readonly code: Suspect["code"];
  readonly matches: RegExp;
  readonly detail: string;
}

const rules: readonly Rule[] = [
  {
    code: "HOST_KEY",
    matches: /^etc\/ssh\/ssh_host_.*_key(\.pub)?$/,
    detail: "a key made at random when openssh-server was installed: every machine of this image would share it",
  },
  { code: "HOST_IDENTITY", matches: /^etc\/nvme\/host(id|nqn)$/, detail: "a random identity of the building host" },
  { code: "HOST_IDENTITY", matches: /^etc\/hostid$/, detail: "a random identity of the building host" },
  {
    code: "RANDOM_SEED",
    matches: /^var\/lib\/(systemd\/random-seed|urandom\/random-seed)$/,
    detail: "random by its nature; machines of one image may not share it",
  },
  { code: "HOST_CONFIGURATION", matches: /^etc\/(resolv\.conf|hostname)$/, detail: "often copied from the building host" },
  {
    code: "PYTHON_CACHE",
    matches: /(^|\/)__pycache__$|\.pyc$/,
    detail: "Python's cache holds the times of its sources; PYTHONDONTWRITEBYTECODE=1, or py3compile with SOURCE_DATE_EPOCH",
  },
  { code: "BUILD_LOG", matches: /^var\/lib\/dkms\/.*\/make\.log$/, detail: "a log of the build, with its clock" },
];

/** Files larger than this are not searched for build paths. */
const SEARCH_LIMIT = 64 * 1024;

/** Where builders work: such a path in a text is that of one machine. */
const buildPath = /(?:\/home\/(?:runner|builder|build)\/|\/build\/[a-z0-9+.-]+-[A-Za-z0-9]{6}\/|\/tmp\/(?:tmp|build|pip-)[A-Za-z0-9_.-]+\/)[^\s"':]*/;

/** All suspects of a tree, in its order. Reads small text files, and /etc/shadow. */
export async function findSuspects(tree: Tree): Promise<Suspect[]> {
  const out: Suspect[] = [];
  for (const node of tree) {
    const rule = rules.find((r) => r.matches.test(node.path) && !isEmpty(node));
    if (rule !== undefined) out.push({ path: node.path, code: rule.code, detail: rule.detail });
    if (node.type !== "file" || node.content.size === 0 || node.content.size > SEARCH_LIMIT) continue;
    if (/^etc\/shadow-?$/.test(node.path)) out.push(...(await passwordDates(node)));
    else if (/^etc\//.test(node.path) || /\.(la|pc|cmake|conf|cfg|sh|json)$/.test(nameOf(node.path))) out.push(...(await buildPaths(node)));
  }
  return out;
}

function isEmpty(node: TreeNode): boolean {
  return node.type === "file" && node.content.size === 0;
}

async function text(node: FileNode): Promise<string> {
  return decodeName(await collect(streamSource(node.content)));
}

/** shadow(5): the third field is the day of the last password change, which is the day of the build for accounts made in it. */
async function passwordDates(node: FileNode): Promise<Suspect[]> {
  const accounts = (await text(node))
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => fields.length >= 8 && /^[0-9]+$/.test(fields[2] ?? ""));
  const days = [...new Set(accounts.map((fields) => fields[2]))];
  if (accounts.length === 0) return [];
  return [
    {
      path: node.path,
      code: "PASSWORD_DATE",
      detail: `${accounts.length} accounts with a date of last change (day ${days.join(", ")}): the day of the build, unless SOURCE_DATE_EPOCH was set`,
    },
  ];
}

async function buildPaths(node: FileNode): Promise<Suspect[]> {
  const found = buildPath.exec(await text(node))?.[0];
  return found === undefined ? [] : [{ path: node.path, code: "BUILD_PATH", detail: `holds the path ${found} of a build` }];
}
