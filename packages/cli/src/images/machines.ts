import { CliError } from "../errors.ts";

/** What the options say of the machine that an image is for. */
export interface MachineFlags {
  readonly platform?: string;
  readonly arch?: readonly string[];
  readonly index?: boolean;
}

/** One machine, as the opening of a source takes it. Empty: whatever the options and the source say. */
export interface Machine {
  readonly arch?: string;
  readonly platform?: string;
}

/**
 * The machines that images are to be made for, in the order of an index as apko has it: by their names.
 * Several where an apko configuration, or `--arch`, names several and `--platform` does not choose one.
 * @throws CliError USAGE for options that say nothing together; as the reading of the configuration.
 */
export async function machinesOf(specs: readonly string[], { platform, arch, index }: MachineFlags): Promise<readonly Machine[]> {
  const first = specs.find((spec) => spec.startsWith("apko:"));
  if (first === undefined && arch !== undefined) throw new CliError("USAGE", "--arch is of an apko: source", { hint: "Give --platform OS/ARCH." });
  if (first === undefined || (platform !== undefined && arch === undefined)) return [{}];
  const { parseArchitecture } = await import("@imgkit/apk");
  const { apkoPath, readApkoConfig } = await import("../apko-source.ts");
  const wanted = arch?.map((name) => parseArchitecture(name).oci) ?? readApkoConfig(apkoPath(first)).config.archs;
  const names = [...new Set(wanted)].sort();
  if (names.length === 0) return [{}];
  const named = platform?.replace(/^[a-z]+\//, "");
  if (named !== undefined && names.join() !== named)
    throw new CliError("USAGE", "--arch and --platform name different machines", { expected: named, found: names.join(", "), hint: "Leave one of them out." });
  if (names.length > 1) checkSeveral(specs, names, index);
  return names.map((name) => ({ arch: name, ...(names.length > 1 ? { platform: `linux/${name}` } : {}) }));
}

function checkSeveral(specs: readonly string[], names: readonly string[], index: boolean | undefined): void {
  const found = names.join(", ");
  if (index === true)
    throw new CliError("USAGE", "images for several architectures are an index of their own", {
      field: "--index",
      found,
      hint: "Leave --index out, or name one with --arch.",
    });
  if (specs.includes("-")) throw new CliError("USAGE", "standard input is read once, and the image is for several architectures", { found });
}
