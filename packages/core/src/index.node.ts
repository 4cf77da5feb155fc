export { type DirectoryOptions, readDirectory, type SourceFinding } from "./directory.node.ts";
