// `contents.runtime_keyring` of an apko.yaml, by apko's pkg/build/runtime_keyring.go: keys for whoever installs packages in the image.
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";
import type { RsaEngine } from "../key.ts";
import type { ApkoPem } from "./config-parts.ts";
import { decodePem, encodePem } from "./pem.ts";

const FOLDER = "etc/apk/keys";

/**
 * Writes the keys, with a time in nanoseconds since 1970.
 * @throws ApkError BAD_KEY for what is no RSA key; FILE_CONFLICT for a name that stands twice, or is there.
 */
export async function addRuntimeKeys(root: Root, keys: readonly ApkoPem[], rsa: RsaEngine, mtime: bigint): Promise<void> {
  for (const { name, content } of keys) {
    const facts = { path: name, field: "contents.runtime_keyring" };
    const der = decodePem(content, "PUBLIC KEY");
    if (der === undefined) throw new ApkError("BAD_KEY", "not a public key", { ...facts, expected: "one PEM block, BEGIN PUBLIC KEY" });
    // Of no signature at all: only whether it is an RSA key.
    await rsa.verify(der, "SHA-256", new Uint8Array(), new Uint8Array());
    root.folder(FOLDER);
    const path = `${root.resolve(FOLDER)}/${name}`;
    if (root.get(path) !== undefined) throw new ApkError("FILE_CONFLICT", "a key is to be where another one is", { ...facts, found: path });
    root.file(path, encodePem(der, "PUBLIC KEY"), 0o644, mtime);
  }
}
