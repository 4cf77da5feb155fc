import { webcrypto } from "node:crypto";
import { gunzip } from "@imgkit/compress/node";
import type { Gunzip } from "./archive.ts";
import { type RsaEngine, type SubtleLike, webCryptoRsa } from "./key.ts";

/** Signatures by Node's own WebCrypto. */
export const nodeRsa: RsaEngine = webCryptoRsa(webcrypto.subtle as unknown as SubtleLike);

/** gzip by Node's zlib. */
export const nodeGunzip: Gunzip = gunzip;
