import { toHex } from "@imgkit/bytes";
import { defaultSeed, deriveVeritySalt, deriveVerityUuid, type GptPartition, type GptTable, partitionTypeName, readGpt } from "@imgkit/verity";
import { type Stamped, type StampPair, type StampResult, stampDisk } from "@imgkit/verity/node";
import { type Command, InvalidArgumentError } from "commander";
import type { Context } from "../context.ts";
import { digestPath } from "../digest.ts";
import { openRawDisk } from "../disk-file.ts";
import { CliError } from "../errors.ts";
import { parseFields, parseNumber, parseType } from "../gpt/values.ts";
import { printJson, printLine } from "../io.ts";
import { addOutputOptions, addRecordOption, type OutputOptions, type RecordOptions } from "../options.ts";
import { checkRegularOutput, checkSideOutputs } from "../outputs.ts";
import { startProgress } from "../progress.ts";
import { type RecordedFile, writeRecord } from "../record.ts";
import { addParamOptions, type ParamOptions, paramsOf } from "../verity-options.ts";

interface StampCommandOptions extends ParamOptions, OutputOptions, RecordOptions {
  readonly output?: string;
  readonly pair?: readonly PairText[];
  readonly uuid?: string;
  readonly seed: string;
  readonly replaceMbr?: boolean;
}

/** A pair as the user names it: partitions by number or by name. */
interface PairText {
  readonly data: string;
  readonly verity?: number;
  readonly type?: string;
}

const help = `
Without --pair every root and /usr partition is protected. A verity partition of the matching type is filled where the disk has one, else
a new one is added behind all others, and the disk grows by what it needs. The disk, or the copy with -o, appears whole or not at all.

Examples:
  $ imgkit verity stamp disk.raw
  $ imgkit verity stamp disk.raw -o protected.raw --json | jq -r '.kernelOptions[]'
  $ imgkit verity stamp disk.raw --pair root --pair opt,type=6a4e1c5e-0000-4000-8000-000000000001 --pair 1,verity=5`;

export function addStamp(verity: Command, context: Context): void {
  const command = addParamOptions(verity.command("stamp"))
    .summary("protect the partitions of a disk that someone else built")
    .description(
      "Builds the hash trees of data partitions, stores each in a verity partition, gives both the UUIDs that announce its root hash, and prints the kernel's options.",
    )
    .argument("<disk>", "a raw disk image with a GPT")
    .option("-o, --output <file>", "write the protected disk there; without it DISK is replaced")
    .option("--pair <data>", "a data partition by number, name or type: DATA[,verity=N][,type=TYPE of a new verity partition]; may be given again", collectPair)
    .option("--uuid <uuid>", "of every superblock (default: derived from the seed)")
    .option("--seed <uuid>", "what salt and UUID derive from unless given", defaultSeed)
    .option("--replace-mbr", "put a protective MBR in the place of a hybrid one, which is refused otherwise")
    .addHelpText("after", help)
    .action((disk: string, options: StampCommandOptions) => stamp(disk, options, context));
  addRecordOption(addOutputOptions(command));
}

function collectPair(text: string, before: readonly PairText[] | undefined): readonly PairText[] {
  const comma = text.indexOf(",");
  const data = comma < 0 ? text : text.slice(0, comma);
  const fields = comma < 0 ? new Map<string, string>() : parseFields(text.slice(comma + 1), ["verity", "type"]);
  if (data === "") throw new InvalidArgumentError("Expected the number or name of a data partition.");
  const [verity, type] = [fields.get("verity"), fields.get("type")];
  return [
    ...(before ?? []),
    { data, ...(verity === undefined ? {} : { verity: parseNumber(verity) }), ...(type === undefined ? {} : { type: parseType(type) }) },
  ];
}

/** @throws CliError USAGE unless exactly one partition has that number, name or type. */
function partitionNamed(table: GptTable, text: string): GptPartition {
  const found = table.partitions.filter((p) => (/^[0-9]+$/.test(text) ? p.number === Number(text) : p.name === text || partitionTypeName(p.type) === text));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const names = table.partitions.map((p) => `${p.number} (${p.name || partitionTypeName(p.type) || p.type})`).join(", ") || "none: the table is empty";
  throw new CliError("USAGE", found.length === 0 ? "there is no such partition" : "more than one partition is called so", {
    field: "--pair",
    expected: `one of ${names}`,
    found: JSON.stringify(text),
  });
}

async function pairsOf(path: string, wanted: readonly PairText[]): Promise<StampPair[]> {
  const disk = await openRawDisk(path);
  try {
    const { table } = await readGpt(disk);
    return wanted.map(({ data, verity, type }) => ({
      data: partitionNamed(table, data).number,
      ...(verity === undefined ? {} : { verity }),
      ...(type === undefined ? {} : { verityType: type }),
    }));
  } finally {
    disk.close();
  }
}

async function stamp(path: string, options: StampCommandOptions, context: Context): Promise<void> {
  const target = options.output ?? path;
  checkRegularOutput(target);
  checkSideOutputs(target, { "--record": options.record });
  const params = paramsOf(options, options.salt ?? deriveVeritySalt(options.seed));
  const uuid = options.uuid ?? deriveVerityUuid(options.seed);
  (await openRawDisk(path)).close();
  const pairs = options.pair === undefined ? undefined : await pairsOf(path, options.pair);
  // Now, for the disk may be replaced.
  const inputs = options.record === undefined ? [] : [await recorded(path)];
  const progress = startProgress(context.io, "verity stamp", options.progress && !options.quiet);
  const result = await stampDisk(path, target, {
    ...params,
    uuid,
    ...(pairs === undefined ? {} : { pairs }),
    replaceMbr: options.replaceMbr === true,
    onProgress: (done, total) => progress.update(done, total),
  }).finally(() => progress.end());
  if (options.record !== undefined) {
    const document = { command: "verity stamp", arguments: context.argv, epoch: undefined, inputs, outputs: [await recorded(target)] };
    await writeRecord(options.record, document);
  }
  await report(target, result, uuid, options, context);
}

async function recorded(name: string): Promise<RecordedFile> {
  return { name, kind: "disk", ...(await digestPath(name)) };
}

async function report(
  target: string,
  { table, pairs, kernelOptions }: StampResult,
  uuid: string,
  options: StampCommandOptions,
  context: Context,
): Promise<void> {
  const { io } = context;
  const { sectorSize, sectors } = table;
  if (options.json) {
    await printJson(io, {
      command: "verity stamp",
      disk: target,
      size: sectors * sectorSize,
      uuid,
      pairs: pairs.map((pair) => pairDocument(pair, sectorSize)),
      kernelOptions,
    });
    return;
  }
  if (options.quiet) return;
  for (const { data, verity, rootHash } of pairs) {
    await printLine(io, `${nameOf(data)}: root hash ${toHex(rootHash)}`);
    await printLine(io, `  data in partition ${data.number}, ${data.uuid}; tree in partition ${verity.number}, ${verity.uuid}`);
  }
  for (const option of kernelOptions) await printLine(io, option);
}

function nameOf({ name, type }: GptPartition): string {
  return [partitionTypeName(type) ?? type, ...(name === "" ? [] : [`"${name}"`])].join(" ");
}

function pairDocument({ data, verity, rootHash, layout }: Stamped, sectorSize: number): object {
  const place = (p: GptPartition): object => ({
    number: p.number,
    type: p.type,
    typeName: partitionTypeName(p.type),
    uuid: p.uuid,
    name: p.name,
    start: p.firstLba * sectorSize,
    size: (p.lastLba - p.firstLba + 1) * sectorSize,
  });
  const { levels: _levels, ...shape } = layout;
  return { data: place(data), verity: place(verity), rootHash: toHex(rootHash), tree: { ...shape, salt: toHex(layout.salt) } };
}
