export { decompress, unxz } from "./decompress.node.ts";
export { gunzip } from "./gunzip.node.ts";
export { gzip, type NodeGzipOptions } from "./gzip.node.ts";
