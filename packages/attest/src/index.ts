export { type Certificate, readCertificate, readCertificateFile } from "./authenticode/certificate.ts";
export {
  attachSignature,
  type ImageSignature,
  imageToBeSigned,
  type RsaSigner,
  type RsaVerifier,
  readSignatures,
  type SignOptions,
  signImage,
} from "./authenticode/image.ts";
export { readSignedData, type SignedData } from "./authenticode/signed-data.ts";
export { AttestError, type AttestErrorCode } from "./errors.ts";
export { readPem } from "./pem.ts";
export { webCryptoSigner, webCryptoVerifier } from "./web-crypto.ts";
