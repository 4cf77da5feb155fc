export {
  attachSignature,
  type ImageSignature,
  imageToBeSigned,
  readSignatures,
  type SignOptions,
  signImage,
} from "./authenticode/image.ts";
export { readSignedData, type SignedData } from "./authenticode/signed-data.ts";
export { AttestError, type AttestErrorCode } from "./errors.ts";
export { readPem } from "./pem.ts";
export { type Certificate, readCertificate, readCertificateFile } from "./pkcs7/certificate.ts";
export type { RsaSigner, RsaVerifier } from "./pkcs7/rsa.ts";
export { type ReportInput, reportPage } from "./report/page.ts";
export {
  type RootHashSignOptions,
  rootHashToBeSigned,
  signRootHash,
  verifyRootHashSignature,
} from "./root-hash/sign.ts";
export { webCryptoSigner, webCryptoVerifier } from "./web-crypto.ts";
