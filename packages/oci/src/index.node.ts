export { directoryBlobs } from "./blobs.node.ts";
export { nodeEngines } from "./engines.node.ts";
export { createLayout, directoryFiles, type LayoutWriter, openLayout, splitLayoutReference } from "./layout.node.ts";
