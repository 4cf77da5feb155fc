import { ascii, type ByteSource, type Struct, sliceSource, struct } from "@imgkit/bytes";
import type { CauseCode, FoundCause } from "./causes.ts";
import { both, type ContentRule, distinct, found, headOf, sameFrom, startsWith } from "./pair.ts";

// ar archives (static libraries, .deb): System V and GNU's common form, a magic line and members with headers of 60 bytes.
interface MemberHeader {
  readonly name: string;
  readonly date: string;
  readonly uid: string;
  readonly gid: string;
  readonly mode: string;
  readonly size: string;
}
const header: Struct<MemberHeader> = struct<MemberHeader>("ar member", 60, {
  name: ascii(0, 16),
  date: ascii(16, 12),
  uid: ascii(28, 6),
  gid: ascii(34, 6),
  mode: ascii(40, 8),
  size: ascii(48, 10),
});
const MAGIC = [..."!<arch>\n"].map((c) => c.charCodeAt(0));

/** Members beyond these are not looked at. */
const MOST = 100_000;

interface Member {
  readonly header: MemberHeader;
  readonly data: ByteSource;
}

async function* members(source: ByteSource): AsyncGenerator<Member, void, undefined> {
  let at = MAGIC.length;
  for (let i = 0; i < MOST && at + header.size <= source.size; i++) {
    const fields = header.decode(await source.read(at, at + header.size));
    const size = Number(fields.size.trim());
    const start = at + header.size;
    if (!Number.isInteger(size) || size < 0 || start + size > source.size) return;
    yield { header: fields, data: sliceSource(source, start, start + size) };
    at = start + size + (size % 2);
  }
}

const fields: readonly (readonly [keyof MemberHeader, CauseCode])[] = [
  ["date", "ar-time"],
  ["uid", "ar-owner"],
  ["gid", "ar-owner"],
  ["mode", "ar-owner"],
];

/** ar archives, member by member. */
export const explainAr: ContentRule = async ({ path, a, b }, help) => {
  if (!startsWith(await headOf(a, 8), MAGIC) || !startsWith(await headOf(b, 8), MAGIC)) return undefined;
  const causes: FoundCause[] = [];
  const right = members(b);
  for await (const left of members(a)) {
    const { value: other } = await right.next();
    const name = left.header.name.trim();
    if (other === undefined || other.header.name.trim() !== name) {
      return distinct([...causes, found("unknown", `the members ${both("are", JSON.stringify(name), JSON.stringify(other?.header.name.trim() ?? "none"))}`)]);
    }
    for (const [field, code] of fields) {
      if (left.header[field] !== other.header[field]) {
        causes.push(found(code, `member ${JSON.stringify(name)}: ${both(field, left.header[field].trim(), other.header[field].trim())}`));
      }
    }
    if (!(await sameFrom(left.data, 0, other.data, 0))) causes.push(...(await help.inside({ path: `${path} (${name})`, a: left.data, b: other.data })));
  }
  return causes.length === 0 ? undefined : distinct(causes);
};
