// Checksums beside certificate bundles, by apko's pkg/build/certificates.go: what the bundle was when the image was built, for sha256sum -c.
import { portableSha256, streamSource, toHex } from "@imgkit/bytes";
import type { Root } from "../install/root.ts";

/** Where packages have certificates in PEM, one behind the other. */
export const textBundles: readonly string[] = [
  "etc/ssl/certs/ca-certificates.crt",
  "var/lib/ecs/deps/execute-command/certs/tls-ca-bundle.pem",
  "kaniko/ssl/certs/ca-certificates.crt",
];

/** Where they have a trust store of Java's. */
export const trustStores: readonly string[] = ["etc/ssl/certs/java/cacerts"];

/** Writes `.NAME.sha256` beside each bundle that is there, with a time in nanoseconds since 1970. */
export async function writeBundleChecksums(root: Root, mtime: bigint): Promise<void> {
  for (const bundle of [...textBundles, ...trustStores]) {
    const file = root.followed(bundle);
    if (file?.type !== "file") continue;
    const hasher = portableSha256.create();
    for await (const chunk of streamSource(file.content, 1 << 20)) hasher.update(chunk);
    const slash = bundle.lastIndexOf("/");
    const name = bundle.slice(slash + 1);
    root.file(`${root.resolve(bundle.slice(0, slash))}/.${name}.sha256`, `${toHex(hasher.digest())}  ${name}\n`, 0o444, mtime);
  }
}
