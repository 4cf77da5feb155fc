import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * The suite as one module from the sources, for a runtime that reads no TypeScript and has no packages.
 * @throws Error when something of it needs Node.
 */
export async function bundleSuite(): Promise<string> {
  const problems: string[] = [];
  const build = await rolldown({
    input: fileURLToPath(new URL("suite.ts", import.meta.url)),
    cwd: root,
    platform: "browser",
    resolve: { conditionNames: ["@imgkit/source", "import", "default"] },
    onLog: (_level, log) => problems.push(log.message),
  });
  const { output } = await build.generate({ format: "esm" });
  await build.close();
  if (problems.length > 0) throw new Error(`bundling the conformance suite: ${problems.join("\n")}`);
  return output[0].code;
}
