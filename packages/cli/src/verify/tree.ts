import { nativeSha256 } from "@imgkit/bytes/node";
import { verifyMtree } from "@imgkit/core";
import type { Io } from "../io.ts";
import { readMtree } from "../mtree.ts";
import { openTree } from "../open.ts";
import { startProgress } from "../progress.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

/** A directory, a tar, or the files of a disk, against an mtree specification. */
export async function verifyTree(x: string, specification: string, options: VerifyOptions, io: Io): Promise<{ kind: string; outcome: Outcome }> {
  const spec = readMtree(specification);
  const progress = startProgress(io, "verify tree", options.progress && !options.quiet);
  const source = await openTree(x, { ...options, xattrs: false }, io, progress).finally(() => progress.end());
  try {
    const findings = await verifyMtree(source.tree, spec, { sha256: nativeSha256 });
    const lines = findings.map(({ code, path, keyword, expected, found }) => {
      if (code === "MISSING") return `${path}: missing`;
      if (code === "EXTRA") return `${path}: not in the specification`;
      return code === "NOT_CHECKED" ? `${path}: ${keyword} cannot be checked here` : `${path}: ${keyword} differs (expected ${expected}, found ${found})`;
    });
    const outcome = {
      ok: findings.length === 0,
      anchor: `the given specification ${specification}`,
      findings: lines,
      verified: findings.length === 0 ? [`${source.tree.size} entries`] : [],
      details: { findings },
    };
    return { kind: "tree", outcome };
  } finally {
    source.close();
  }
}
