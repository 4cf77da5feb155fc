export { directoryBlobs } from "./blobs.node.ts";
export { nodeEngines } from "./engines.node.ts";
export { collectGarbage, type GarbageOptions, type GarbageReport } from "./gc.node.ts";
export { createLayout, directoryFiles, type LayoutWriter, openLayout, splitLayoutReference } from "./layout.node.ts";
export { readCertificates } from "./registry/certificates.node.ts";
export { type CredentialsOptions, nodeCredentials } from "./registry/credentials.node.ts";
export { type NodeNetworkOptions, nodeNetwork } from "./registry/network.node.ts";
