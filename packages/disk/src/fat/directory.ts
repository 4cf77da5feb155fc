// Reads the entries of a directory one after the other: parts of long names first, then the entry that they name.

import type { FatFinding } from "./findings.ts";
import {
  ATTR_LONG_NAME,
  ATTR_LONG_NAME_MASK,
  type DirEntry,
  dirEntry,
  END_OF_DIRECTORY,
  ENTRY_SIZE,
  FREE_ENTRY,
  LAST_LONG_ENTRY,
  LONG_UNITS,
  longEntry,
} from "./format.ts";
import { joinLongName, MAX_LONG_ENTRIES, readShortName, shortNameChecksum } from "./names.ts";

export interface FoundEntry {
  readonly name: string;
  readonly values: DirEntry;
  /** In bytes from the start of the file system. */
  readonly offset: number;
}

/** The parts of a long name that were read, in the order of the disk: the last comes first. */
interface Pending {
  readonly checksum: number;
  readonly offset: number;
  /** Number of the part read last; 1 is the first of the name. */
  ordinal: number;
  readonly parts: Uint8Array[];
}

export class DirectoryParser {
  readonly #path: string;
  readonly #findings: FatFinding[];
  #pending: Pending | undefined;

  constructor(path: string, findings: FatFinding[]) {
    this.#path = path;
    this.#findings = findings;
  }

  /** What an entry says: nothing by itself when it is free or a part of a long name. */
  next(bytes: Uint8Array, offset: number): FoundEntry | "end" | undefined {
    const values = dirEntry.decode(bytes);
    const first = bytes[0] as number;
    if (first === END_OF_DIRECTORY || first === FREE_ENTRY) {
      this.#drop();
      return first === END_OF_DIRECTORY ? "end" : undefined;
    }
    if ((values.DIR_Attr & ATTR_LONG_NAME_MASK) === ATTR_LONG_NAME) {
      this.#addPart(bytes, offset);
      return undefined;
    }
    const long = this.#longName(values.DIR_Name);
    return { name: long ?? readShortName(values.DIR_Name, values.DIR_NTRes), values, offset };
  }

  #addPart(bytes: Uint8Array, offset: number): void {
    const { LDIR_Ord: ord, LDIR_Chksum: checksum, LDIR_Name1, LDIR_Name2, LDIR_Name3 } = longEntry.decode(bytes);
    const units = new Uint8Array(2 * LONG_UNITS);
    units.set(LDIR_Name1, 0);
    units.set(LDIR_Name2, 10);
    units.set(LDIR_Name3, 22);
    const pending = this.#pending;
    if (ord & LAST_LONG_ENTRY) {
      this.#drop();
      const ordinal = ord & ~LAST_LONG_ENTRY;
      this.#pending = { checksum, offset, ordinal, parts: [units] };
      if (ordinal < 1 || ordinal > MAX_LONG_ENTRIES) this.#drop();
    } else if (pending !== undefined && ord === pending.ordinal - 1 && ord > 0 && checksum === pending.checksum) {
      pending.ordinal = ord;
      pending.parts.push(units);
    } else {
      this.#pending ??= { checksum, offset, ordinal: 0, parts: [units] };
      this.#drop();
    }
  }

  #longName(shortName: Uint8Array): string | undefined {
    const pending = this.#pending;
    if (pending === undefined) return undefined;
    const whole = pending.ordinal === 1 && pending.checksum === shortNameChecksum(shortName);
    const name = whole ? joinLongName(pending.parts.toReversed()) : undefined;
    if (name === undefined) this.#drop();
    this.#pending = undefined;
    return name;
  }

  /** Gives up the parts that were read, and says so. */
  #drop(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    this.#pending = undefined;
    const { offset, parts } = pending;
    const message = `${this.#path === "" ? "the root" : this.#path}: parts of a long name that belong to no entry`;
    this.#findings.push({ code: "LONG_NAME", message, path: this.#path, offset, length: parts.length * ENTRY_SIZE });
  }
}
