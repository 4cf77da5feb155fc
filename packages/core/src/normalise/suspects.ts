import { collect, decodeName, streamSource } from "@imgkit/bytes";
import { type SuspectPath, suspectPath } from "../known-paths.ts";
import type { FileNode, TreeNode } from "../node.ts";
import type { Tree } from "../tree.ts";

/** Something that is likely to differ from build to build, or that tells of the host that built. It is reported, never removed. */
export interface Suspect {
  readonly path: string;
  readonly code: SuspectPath["code"] | "PASSWORD_DATE" | "BUILD_PATH";
  readonly detail: string;
}

/** Files larger than this are not searched for build paths. */
const SEARCH_LIMIT = 64 * 1024;

/** Where builders work: such a path in a text is that of one machine. */
const buildPath = /(?:\/home\/(?:runner|builder|build)\/|\/build\/[a-z0-9+.-]+-[A-Za-z0-9]{6}\/|\/tmp\/(?:tmp|build|pip-)[A-Za-z0-9_.-]+\/)[^\s"':]*/;

/** All suspects of a tree, in its order. Reads small text files, and /etc/shadow. */
export async function findSuspects(tree: Tree): Promise<Suspect[]> {
  const out: Suspect[] = [];
  for (const node of tree) {
    const suspect = isEmpty(node) ? undefined : suspectPath(node.path);
    if (suspect !== undefined) out.push({ path: node.path, ...suspect });
    if (node.type !== "file" || node.content.size === 0 || node.content.size > SEARCH_LIMIT) continue;
    if (/^etc\/shadow-?$/.test(node.path)) out.push(...(await passwordDates(node)));
    else if (/^etc\//.test(node.path) || /\.(la|pc|cmake|conf|cfg|sh|json)$/.test(node.path)) out.push(...(await buildPaths(node)));
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
