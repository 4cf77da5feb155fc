export { type CompareOptions, compareTrees, type DeviceNumbers, type Difference, formatDifference } from "./compare.ts";
export { CoreError, type CoreErrorCode } from "./errors.ts";
export {
  type DeviceNode,
  type DirectoryNode,
  type FifoNode,
  type FileNode,
  type HardLinkNode,
  type InodeNode,
  type NodeMeta,
  noXattrs,
  type SymlinkNode,
  type TreeNode,
} from "./node.ts";
export { comparePaths, joinPath, nameOf, parentOf } from "./path.ts";
export { Tree } from "./tree.ts";
