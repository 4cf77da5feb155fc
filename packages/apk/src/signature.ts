// `.SIGN.RSA.KEY` (SHA-1), `.SIGN.RSA256.KEY`, `.SIGN.RSA512.KEY`: files of the first member, each a raw signature over what follows it.

import { memberFile, memberTree } from "./archive.ts";
import { ApkError } from "./errors.ts";
import type { KeyRing, RsaEngine, SignatureHash } from "./key.ts";

const hashes: Readonly<Record<string, SignatureHash>> = { RSA: "SHA-1", RSA256: "SHA-256", RSA512: "SHA-512" };

export interface Signature {
  readonly hash: SignatureHash;
  /** The file name of the key. */
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** What signatures are checked with. */
export interface Trust {
  readonly keys: KeyRing;
  readonly rsa: RsaEngine;
}

/**
 * The signatures in a signature member.
 * @throws ApkError BAD_SIGNATURE when there is none, or one with a key name that is a path.
 */
export async function readSignatures(member: Uint8Array, path: string): Promise<readonly Signature[]> {
  const tree = await memberTree(member, path);
  const out: Signature[] = [];
  for (const node of tree) {
    if (node.path === "") continue;
    const [, kind = "", key = ""] = /^\.SIGN\.([A-Z0-9]+)\.([^/]+)$/.exec(node.path) ?? [];
    const hash = Object.hasOwn(hashes, kind) ? hashes[kind] : undefined;
    const bytes = await memberFile(tree, node.path);
    if (key === "" || bytes === undefined) throw new ApkError("BAD_SIGNATURE", "a signature member that holds something else", { path, found: node.path });
    // DSA and what may come: not ours to check, and no reason to refuse the others.
    if (hash !== undefined) out.push({ hash, key, bytes });
  }
  if (out.length === 0)
    throw new ApkError("BAD_SIGNATURE", "there is no signature of a kind that can be checked", {
      path,
      expected: ".SIGN.RSA.KEY, .SIGN.RSA256.KEY or .SIGN.RSA512.KEY",
    });
  return out;
}

/**
 * Holds signed data to the first signature whose key is trusted; its name.
 * @throws ApkError UNKNOWN_KEY when none is; BAD_SIGNATURE when the signature is not that key's.
 */
export async function checkSignatures(signatures: readonly Signature[], data: Uint8Array, trust: Trust, path: string): Promise<string> {
  for (const { hash, key, bytes } of signatures) {
    const known = trust.keys.get(key);
    if (known === undefined) continue;
    if (await trust.rsa.verify(known, hash, bytes, data)) return key;
    throw new ApkError("BAD_SIGNATURE", "the signature is not over these bytes", {
      path,
      field: key,
      hint: "It was altered, or the key is another one of the same name.",
    });
  }
  throw new ApkError("UNKNOWN_KEY", "signed by no key that is trusted", {
    path,
    expected: [...trust.keys.keys()].join(", ") || "a key in the key ring",
    found: signatures.map(({ key }) => key).join(", "),
    hint: "Add the key to the key ring if you trust it.",
  });
}
