import type { DiskView } from "./copy.ts";
import { type GptFinding, gptFinding } from "./findings.ts";
import { mbr, mbrRecordStruct, mbrSignature, mbrSignatureStruct } from "./structs.ts";

/** Checks the protective MBR (UEFI 2.10 section 5.2.3). Returns the types of records that are partitions of its own: of a hybrid MBR. */
export async function checkMbr(disk: DiskView, findings: GptFinding[]): Promise<readonly number[]> {
  const bytes = await disk.source.read(0, mbr.size);
  const { signature } = mbrSignatureStruct.decode(bytes, mbr.signature);
  if (signature !== mbrSignature) {
    findings.push(
      gptFinding("MBR_SIGNATURE", "mbr", mbr.signature, "no MBR signature", { expected: "0xaa55", found: `0x${signature.toString(16)}`, length: 2 }),
    );
  }
  const records = Array.from({ length: mbr.recordCount }, (_, i) => {
    const at = mbr.records + i * mbrRecordStruct.size;
    return { at, record: mbrRecordStruct.decode(bytes, at) };
  });
  // The other three records are all zero, the specification says.
  const used = records.filter(({ at }) => bytes.subarray(at, at + mbrRecordStruct.size).some((b) => b !== 0));
  const protective = used.find(({ record }) => record.type === mbr.protectiveType);
  if (protective === undefined || used.length > 1) {
    const found = used.length === 0 ? "none" : `types ${used.map(({ record }) => `0x${record.type.toString(16)}`).join(", ")}`;
    findings.push(
      gptFinding("MBR_NOT_PROTECTIVE", "mbr", mbr.records, "the MBR is not a protective one", { expected: "one record of type 0xee", found, length: 64 }),
    );
  }
  const foreign = used.map(({ record }) => record.type).filter((type) => type !== mbr.protectiveType && type !== 0);
  if (protective === undefined) return foreign;
  const { at, record } = protective;
  const { fields } = mbrRecordStruct;
  // Linux and EDK2 take a disk whose record starts elsewhere for one without a GPT.
  if (record.startLba !== 1) {
    findings.push(
      gptFinding("MBR_START_NOT_ONE", "mbr", at + fields.startLba.at, "the protective record does not start at sector 1", {
        expected: 1,
        found: record.startLba,
        length: 4,
      }),
    );
  }
  const size = Math.min(disk.sectors - 1, 0xffff_ffff);
  // 0xffffffff on a smaller disk is how older tools and the specification's own "unknown" have it; Linux takes both.
  if (record.sectors !== size && record.sectors !== 0xffff_ffff) {
    findings.push(
      gptFinding("MBR_SIZE", "mbr", at + fields.sectors.at, "the protective record does not cover the disk", {
        expected: size,
        found: record.sectors,
        length: 4,
      }),
    );
  }
  return foreign;
}
