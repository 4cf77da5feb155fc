import { verifyLayout } from "@imgkit/oci";
import { directoryFiles, nodeEngines } from "@imgkit/oci/node";
import { pacedSource } from "../turns.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

/** The layout's documents and blobs, each against the digest that names it. */
export async function verifyLayoutTarget(path: string, tag: string | undefined, options: VerifyOptions): Promise<Outcome> {
  const { digest } = options;
  const folder = directoryFiles(path);
  const files = { ...folder, open: async (name: string) => pacedSource(await folder.open(name)) };
  const report = await verifyLayout(files, { engines: nodeEngines, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) });
  const findings = report.findings
    .filter((finding) => finding.level === "error")
    .map(({ path: file, field, offset, sentence, expected, found }) => {
      const where = [file, field, offset === undefined ? undefined : `byte ${offset}`].filter((part) => part !== undefined).join(" ");
      const values = [expected === undefined ? undefined : `expected ${expected}`, found === undefined ? undefined : `found ${found}`]
        .filter((part) => part !== undefined)
        .join(", ");
      return `${where}: ${sentence}${values === "" ? "" : ` (${values})`}`;
    });
  const verified = report.verified.map(
    (blob) => `${blob.digest}  ${blob.kind}, ${blob.size} bytes${blob.diffId === undefined ? "" : `, diff_id ${blob.diffId}`}`,
  );
  const anchor =
    digest === undefined ? "the layout's own index only: it is consistent with itself (give --digest to hold it to a published one)" : "the given digest";
  return { ok: report.ok, anchor, findings, verified, details: { images: report.images, verified: report.verified, findings: report.findings } };
}
