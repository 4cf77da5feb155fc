import { ImgkitError, streamSource } from "@imgkit/bytes";
import { type FileSource, openFile } from "@imgkit/bytes/node";
import { detectCompression } from "@imgkit/compress";
import { decompress } from "@imgkit/compress/node";
import { readTar } from "@imgkit/core";
import { type Digested, digestSource } from "../digest.ts";
import { CliError } from "../errors.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

export async function verifyTar(path: string, options: VerifyOptions): Promise<Outcome> {
  const { digest } = options;
  if (digest === undefined) {
    throw new CliError("USAGE", "a tar names no digest of its own", { path, hint: "Give the published one: --digest sha256:…" });
  }
  const file = openFile(path);
  try {
    const seen = await digestSource(file);
    const ok = seen.digest === digest;
    const findings: TarFinding[] = ok ? [] : [mismatch(digest, seen), ...(await tarProblem(file, path))];
    return {
      ok,
      anchor: "the given digest",
      findings: findings.map((finding) => finding.message),
      verified: ok ? [`${seen.digest}  ${seen.size} bytes`] : [],
      details: { ...seen, findings },
    };
  } finally {
    file.close();
  }
}

/** Enough of a file to tell how it is compressed. */
const MAGIC_LENGTH = 6;

interface TarFinding {
  readonly code: string;
  readonly message: string;
  readonly expected?: string;
  readonly found?: string;
}

function mismatch(expected: string, { digest: found, size }: Digested): TarFinding {
  return { code: "DIGEST_MISMATCH", message: `the digest is not the given one (expected ${expected}, found ${found}, of ${size} bytes)`, expected, found };
}

/** A digest cannot tell what is wrong; where the file is no longer a whole tar, reading it can. */
async function tarProblem(file: FileSource, path: string): Promise<TarFinding[]> {
  const head = await file.read(0, Math.min(MAGIC_LENGTH, file.size));
  try {
    if (detectCompression(head) === "none") await readTar(file, { name: path });
    else for await (const _chunk of decompress(streamSource(file), { path }));
    return [];
  } catch (error) {
    if (!(error instanceof ImgkitError)) throw error;
    return [{ code: error.code, message: error.message }];
  }
}
