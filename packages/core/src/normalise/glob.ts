/**
 * Whether whole paths match a pattern: `*` and `?` stand for characters of one name, `**` for any number of names, `[…]` has no
 * meaning. A pattern without a slash matches a name at any depth.
 */
export function pathMatcher(pattern: string): (path: string) => boolean {
  const anchored = pattern.replace(/^\.?\//, "").replace(/\/$/, "");
  const source = (pattern.includes("/") ? anchored : `**/${anchored}`)
    .split("/")
    .map((part) =>
      part === "**"
        ? "**"
        : part
            .replace(/[.+^${}()|[\]\\]/g, "\\$&")
            .replace(/\*/g, "[^/]*")
            .replace(/\?/g, "[^/]"),
    )
    .join("/")
    .replace(/^\*\*\//, "(?:.*/)?")
    .replace(/\/\*\*$/, "/.*")
    .replace(/\/\*\*\//g, "/(?:.*/)?");
  const expression = new RegExp(`^${source === "**" ? ".*" : source}$`, "su");
  return (path) => expression.test(path);
}
