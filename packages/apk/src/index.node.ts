export { nodeGunzip, nodeRsa } from "./engines.node.ts";
export { folderFetcher } from "./folder-fetcher.node.ts";
