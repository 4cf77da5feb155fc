export { nodeGunzip, nodeRsa } from "./engines.node.ts";
