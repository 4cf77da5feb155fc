export { rsaSigner, rsaVerifier } from "./rsa.node.ts";
