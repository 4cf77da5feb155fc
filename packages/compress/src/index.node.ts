export { decompress, unxz } from "./decompress.node.ts";
export { gunzip } from "./gunzip.node.ts";
