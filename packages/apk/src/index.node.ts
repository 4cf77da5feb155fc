export { nodeGunzip, nodeRsa } from "./engines.node.ts";
export { folderFetcher } from "./folder-fetcher.node.ts";
export { type WebFetcherOptions, webFetcher } from "./web-fetcher.node.ts";
