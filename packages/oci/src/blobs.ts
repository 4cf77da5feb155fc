import { type ByteSource, type ByteStream, collect, memorySource, type Sha256Engine } from "@imgkit/bytes";
import { createDigester, parseDigest } from "./digest.ts";
import { portableEngines } from "./engines.ts";
import { OciError } from "./errors.ts";
import type { Descriptor } from "./types.ts";

/** A blob that is open for reading, until `close`. */
export interface BlobSource extends ByteSource {
  /**
   * Of a source that verifies what is read of it from the first byte to the last: the digest that all of it was found to have, once the
   * last byte has been read. Whoever passes on all bytes as they were read need not hash them again.
   */
  verified?(): string | undefined;
  close(): void;
}

/** Where blobs can be read by their digest. What is read is not verified: that is `readBlob`'s job, or the stream's reader's. */
export interface BlobReader {
  /** @throws OciError BAD_DIGEST */
  has(digest: string): Promise<boolean>;
  /** @throws OciError BAD_DIGEST, BLOB_MISSING, BLOB_NOT_A_FILE */
  open(digest: string): Promise<BlobSource>;
}

/** What a blob is known by. */
export interface BlobId {
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

/** What is known of a blob before it comes. */
export interface ExpectedBlob extends Partial<BlobId> {
  /** As of the `BlobSource` that the stream is all of, in order. */
  readonly verified?: (() => string | undefined) | undefined;
}

/** Where blobs can be put. */
export interface BlobSink {
  /**
   * Stores a stream under its SHA-256 digest.
   * @throws OciError BLOB_MISMATCH when `expected` says otherwise (at the first byte too many, if its size is given): nothing is kept.
   */
  put(stream: ByteStream, expected?: ExpectedBlob): Promise<BlobId>;
}

/** Where blobs can be both read and put. A blob is only ever kept under the digest that its bytes have. */
export interface BlobStore extends BlobReader, BlobSink {}

/** A store in memory. */
export function memoryBlobs(sha256: Sha256Engine = portableEngines.sha256): BlobStore {
  const blobs = new Map<string, Uint8Array>();
  return {
    has: async (digest) => {
      parseDigest(digest);
      return blobs.has(digest);
    },
    open: async (digest) => {
      parseDigest(digest);
      const bytes = blobs.get(digest);
      if (bytes === undefined) throw missingBlob(digest);
      return { ...memorySource(bytes), close() {} };
    },
    put: async (stream, expected) => {
      const meter = meterBlob(stream, sha256, expected);
      const bytes = await collect(meter.stream);
      const id = meter.finish();
      blobs.set(id.digest, bytes);
      return id;
    },
  };
}

export function missingBlob(digest: string, path?: string): OciError {
  return new OciError("BLOB_MISSING", `there is no blob ${digest}`, path === undefined ? {} : { path });
}

/** The error for a blob that is not what its descriptor says. */
export function blobMismatch(digest: string | undefined, field: "size" | "digest", expected: string, found: string): OciError {
  return new OciError("BLOB_MISMATCH", "a blob is not what its descriptor says", { ...(digest === undefined ? {} : { path: digest }), field, expected, found });
}

/** Watches a blob that streams through: counts, hashes, and compares with what is expected. */
export interface BlobMeter {
  readonly stream: AsyncIterable<Uint8Array>;
  /** To be called once, after the stream's end. */
  finish(): BlobId;
}

export function meterBlob(stream: ByteStream, sha256: Sha256Engine, expected: ExpectedBlob = {}): BlobMeter {
  const algorithm = expected.digest === undefined ? "sha256" : parseDigest(expected.digest).algorithm;
  const digester = createDigester(algorithm, sha256);
  const verified = expected.digest === undefined ? undefined : expected.verified;
  let size = 0;
  const refuse = (field: "size" | "digest", wanted: string | number, found: string): never => {
    throw blobMismatch(expected.digest, field, String(wanted), found);
  };
  return {
    stream: (async function* () {
      for await (const chunk of stream) {
        size += chunk.length;
        if (expected.size !== undefined && size > expected.size) refuse("size", expected.size, "more bytes");
        if (verified === undefined) digester.update(chunk);
        yield chunk;
      }
    })(),
    finish() {
      if (expected.size !== undefined && size !== expected.size) refuse("size", expected.size, String(size));
      const digest = verified === undefined ? digester.digest() : (verified() ?? "bytes that nobody has verified");
      if (expected.digest !== undefined && digest !== expected.digest) refuse("digest", expected.digest, digest);
      return { digest, size };
    },
  };
}

/** Opens a blob that must have its descriptor's size. @throws OciError BLOB_MISSING, BLOB_NOT_A_FILE, BLOB_MISMATCH. */
export async function openSized(blobs: BlobReader, { digest, size }: BlobId): Promise<BlobSource> {
  const source = await blobs.open(digest);
  if (source.size === size) return source;
  source.close();
  throw blobMismatch(digest, "size", String(size), String(source.size));
}

export interface ReadBlobOptions {
  readonly sha256?: Sha256Engine;
  /** Limit in bytes. */
  readonly maxSize: number;
}

/**
 * A small blob, read whole and verified against its descriptor.
 * @throws OciError BLOB_MISSING, BLOB_NOT_A_FILE; BAD_SIZE when the descriptor claims more than `maxSize`; BLOB_MISMATCH.
 */
export async function readBlob(blobs: BlobReader, descriptor: Descriptor, options: ReadBlobOptions): Promise<Uint8Array> {
  const { digest, size } = descriptor;
  if (size > options.maxSize) {
    throw new OciError("BAD_SIZE", `a blob is too large for what it is: ${digest}`, { expected: `at most ${options.maxSize} bytes`, found: String(size) });
  }
  const source = await openSized(blobs, descriptor);
  try {
    const bytes = await source.read(0, size);
    const digester = createDigester(parseDigest(digest).algorithm, options.sha256);
    digester.update(bytes);
    const found = digester.digest();
    if (found !== digest) throw blobMismatch(digest, "digest", digest, found);
    return bytes;
  } finally {
    source.close();
  }
}
