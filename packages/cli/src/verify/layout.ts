import { type LayoutFiles, verifyLayout } from "@imgkit/oci";
import { nodeEngines } from "@imgkit/oci/node";
import { isRemote } from "../images/client.ts";
import { openImageFiles } from "../images/source.ts";
import type { Io } from "../io.ts";
import { pacedSource } from "../turns.ts";
import type { Outcome, VerifyOptions } from "./outcome.ts";

/** The documents and blobs of an image, wherever it is, each against the digest that names it. */
export async function verifyLayoutTarget(x: string, options: VerifyOptions, io: Io): Promise<Outcome> {
  const { files, name, close } = await openImageFiles(x, options, io);
  try {
    return await verifyFiles(x, files, name, options);
  } finally {
    close();
  }
}

async function verifyFiles(x: string, given: LayoutFiles, tag: string | undefined, { digest }: VerifyOptions): Promise<Outcome> {
  const files = { ...given, open: async (name: string) => pacedSource(await given.open(name)) };
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
  const own = isRemote(x) ? "what the registry says now" : x.startsWith("docker-archive:") ? "the archive's own manifest.json" : "the layout's own index";
  const anchor = digest === undefined ? `${own} only: it is consistent with itself (give --digest to hold it to a published one)` : "the given digest";
  return { ok: report.ok, anchor, findings, verified, details: { images: report.images, verified: report.verified, findings: report.findings } };
}
