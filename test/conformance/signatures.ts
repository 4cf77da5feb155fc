// authenticode/1 and verity-sig/1.

import {
  type Certificate,
  imageToBeSigned,
  readCertificate,
  readSignatures,
  signImage,
  signRootHash,
  verifyRootHashSignature,
} from "../../packages/attest/src/index.ts";
import { collect, decodeBase64, fromHex, memorySource, streamSource, toHex } from "../../packages/bytes/src/index.ts";
import { authenticodeHash } from "../../packages/disk/src/index.ts";
import { encodeSignaturePartition, readSignaturePartition } from "../../packages/verity/src/index.ts";
import { digestOf, eachVector, type Format } from "./check.ts";

interface AuthenticodeVector {
  /** Base64. */
  readonly image: string;
  readonly certificates: readonly string[];
  /** Hexadecimal. */
  readonly signature: string;
  readonly outcome: { readonly imageHash: string; readonly toBeSigned: string; readonly size: number; readonly sha256: string };
}

/** The signed image; and whether its newest signature is good, by the RSA of the runtime. */
export const authenticode: Format = eachVector<AuthenticodeVector>(async ({ outcome, ...vector }, engines) => {
  const image = memorySource(decodeBase64(vector.image));
  const [signer, ...chain] = vector.certificates.map((one) => readCertificate(decodeBase64(one))) as [Certificate, ...Certificate[]];
  const signed = await collect(streamSource(await signImage(image, signer, () => fromHex(vector.signature), engines.rsa, { chain })));
  const last = (await readSignatures(memorySource(signed), engines.rsa)).at(-1);
  const hashes = { imageHash: toHex(await authenticodeHash(image)), toBeSigned: toHex(await imageToBeSigned(image)) };
  return {
    found: { ...hashes, size: signed.length, sha256: await digestOf(signed), problem: last?.problem ?? null },
    expected: { ...outcome, problem: null },
  };
});

interface Summary {
  readonly size: number;
  readonly sha256: string;
}

interface RootHashVector {
  readonly rootHash: string;
  /** Base64: the signer's certificate, and those that lead to it. */
  readonly certificates: readonly string[];
  /** Whether they stand in the signature. */
  readonly include: boolean;
  readonly signature: string;
  readonly outcome: { readonly pkcs7: Summary; readonly partition: Summary };
}

/** The signature of a root hash and the partition with it, which is read back; and whether it is good, by the RSA of the runtime. */
export const veritySig: Format = eachVector<RootHashVector>(async ({ outcome, include, ...vector }, { rsa }) => {
  const rootHash = fromHex(vector.rootHash);
  const certificates = vector.certificates.map((one) => readCertificate(decodeBase64(one))) as [Certificate, ...Certificate[]];
  const [{ fingerprint }] = certificates;
  const pkcs7 = await signRootHash(rootHash, certificates[0], () => fromHex(vector.signature), rsa, include ? { certificates } : {});
  const partition = encodeSignaturePartition({ rootHash, certificateFingerprint: fromHex(fingerprint), signature: pkcs7 });
  const back = await readSignaturePartition(memorySource(partition));
  const signer = await verifyRootHashSignature(back.signature, back.rootHash, certificates, rsa);
  const summary = async (bytes: Uint8Array): Promise<Summary> => ({ size: bytes.length, sha256: await digestOf(bytes) });
  return {
    found: { pkcs7: await summary(pkcs7), partition: await summary(partition), rootHash: toHex(back.rootHash), signer: signer.fingerprint },
    expected: { ...outcome, rootHash: vector.rootHash, signer: fingerprint },
  };
});
