import { verifyDisk } from "@imgkit/disk";
import { nativeEngine } from "@imgkit/verity/node";
import { openDiskFile } from "../disk-file.ts";
import type { Progress } from "../progress.ts";
import { findingLine } from "../report.ts";
import { pacedSource } from "../turns.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

export async function verifyDiskTarget(path: string, options: VerifyOptions, progress: Progress): Promise<Outcome> {
  const file = await openDiskFile(path);
  try {
    const { rootHash, seed } = options;
    const disk = await verifyDisk(pacedSource(file.disk), {
      engine: nativeEngine,
      onProgress: (done, total) => progress.update(done, total),
      ...(rootHash === undefined ? {} : { rootHash }),
      ...(seed === undefined ? {} : { seed }),
    });
    const { ok, ...result } = disk;
    const verified = result.pairs
      .filter((pair) => pair.ok)
      .map((pair) => `${pair.mountPoint === "/opt" ? "opt" : pair.typeName}: root hash ${pair.rootHash}, partitions ${pair.data} and ${pair.verity}`);
    const wrong = new Set(result.findings.filter(({ code }) => code === "COMMAND_LINE" || code === "ESP").map(({ partition }) => partition));
    for (const { partition, path: program } of result.ukis) {
      if (!wrong.has(partition)) verified.push(`${program} on partition ${partition}: its command line names the disk's root hashes`);
    }
    const anchor =
      rootHash === undefined
        ? "the disk's own partition UUIDs only: it is consistent with itself (give --root-hash to hold it to a published one)"
        : "the given root hash";
    const unverified = result.unprotected.map((number) => `partition ${number} is covered by no root hash: what it holds was not verified`);
    return { ok, anchor, findings: result.findings.map(findingLine), verified, unverified, details: result, disk };
  } finally {
    file.close();
  }
}
