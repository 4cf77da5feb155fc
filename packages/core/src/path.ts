import { compareNames, decodeName, encodeName } from "@imgkit/bytes";
import { CoreError } from "./errors.ts";

/** The path of the folder that a path stands in; the root's is the root. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

/** The last component of a path; the root's is the empty string. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** A path from its folder's path and its name. */
export function joinPath(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

/**
 * The order of a Tree, and of `tar --sort=name`: names compared by their bytes, folder by folder, a folder before what
 * is in it. It is not the order of whole paths: `a/b` comes before `a.b`.
 */
export function comparePaths(a: string, b: string): number {
  if (a === b) return 0;
  const shared = Math.min(a.length, b.length);
  let i = 0;
  while (i < shared && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === a.length) return -1;
  if (i === b.length) return 1;
  // The first difference decides between the two components that it stands in; a component that ends there is the shorter one.
  const x = a.charCodeAt(i);
  const y = b.charCodeAt(i);
  if (x === SLASH) return -1;
  if (y === SLASH) return 1;
  if (x < FIRST_SURROGATE && y < FIRST_SURROGATE) return x - y;
  const start = i === 0 ? 0 : a.lastIndexOf("/", i - 1) + 1;
  return compareNames(component(a, start), component(b, start));
}

const SLASH = 0x2f;
const DOT = 0x2e;
/** Below the surrogates, the order of UTF-16 is that of UTF-8. */
const FIRST_SURROGATE = 0xd800;

function component(path: string, start: number): string {
  const slash = path.indexOf("/", start);
  return path.slice(start, slash < 0 ? undefined : slash);
}

/** Linux's limits: a name of 255 bytes, a path of 4,095. */
const NAME_MAX = 255;
export const PATH_MAX = 4095;

/**
 * Checks that a path is one that a Tree may hold.
 * @throws CoreError BAD_PATH otherwise.
 */
export function checkPath(path: string): void {
  if (path === "" || isPlainPath(path)) return;
  const refuse = (expected: string): never => {
    throw new CoreError("BAD_PATH", "not a path that a tree can hold", { path, expected });
  };
  if (path.includes("\0")) refuse("no NUL byte");
  if (!isNameText(path)) refuse("the text that its bytes decode to");
  if (byteLength(path) > PATH_MAX) refuse(`at most ${PATH_MAX} bytes`);
  for (const name of path.split("/")) {
    if (name === "" || name === "." || name === "..") refuse('components that are not empty, "." or ".."');
    if (byteLength(name) > NAME_MAX) refuse(`components of at most ${NAME_MAX} bytes`);
  }
}

/** Whether a path is short, of ASCII, and for certain one that a Tree may hold: nearly all are, and a look at each character tells. */
function isPlainPath(path: string): boolean {
  if (path.length > NAME_MAX) return false;
  let start = 0;
  for (let i = 0; i <= path.length; i++) {
    const code = i < path.length ? path.charCodeAt(i) : SLASH;
    if (code === 0 || code > 0x7f) return false;
    if (code !== SLASH) continue;
    // Of one or two characters, the first a dot: not worth a closer look here.
    if (i === start || (i - start <= 2 && path.charCodeAt(start) === DOT)) return false;
    start = i + 1;
  }
  return true;
}

/** Whether a text is the one that `decodeName` gives for its bytes: two texts of the same bytes would be two nodes with one name. */
export function isNameText(text: string): boolean {
  if (!/\p{Surrogate}/u.test(text)) return true;
  return !/[^\P{Surrogate}\u{dc80}-\u{dcff}]/u.test(text) && decodeName(encodeName(text)) === text;
}

/** Length in bytes, or a lower bound of it where it is short anyway. */
export function byteLength(text: string): number {
  // Each UTF-16 code unit is at most three bytes: short texts need no encoding to be known as short.
  return text.length * 3 <= NAME_MAX ? text.length : encodeName(text).length;
}
