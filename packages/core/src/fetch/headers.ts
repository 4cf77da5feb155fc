// Headers of HTTP that tell whether, and from where, a download can go on (RFC 9110). All are a stranger's text: readers return what they
// understand, and never throw.

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A date as RFC 9110 lets servers send it (IMF-fixdate), in milliseconds since 1970. */
function parseHttpDate(text: string): number | undefined {
  const parts = /^[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT$/.exec(text);
  const month = months.indexOf(parts?.[2] ?? "");
  if (parts === null || month === -1) return undefined;
  const [day = 0, , year = 0, hour = 0, minute = 0, second = 0] = parts.slice(1).map(Number);
  // Days since 1970-01-01 of a date in years that start in March, so that the leap day is a year's last.
  const y = month < 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * ((month + 10) % 12) + 2) / 5) + day - 1;
  const days = y * 365 + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + dayOfYear - 719468;
  return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

/**
 * `Retry-After` (RFC 9110 section 10.2.3) in milliseconds from `now`, which is in milliseconds since 1970. Both forms; of dates,
 * the one that RFC 9110 lets servers send.
 */
export function parseRetryAfter(header: string, now: number): number | undefined {
  if (/^[0-9]{1,9}$/.test(header)) return Number(header) * 1000;
  const date = parseHttpDate(header);
  return date === undefined ? undefined : Math.max(0, date - now);
}

/** What a `Content-Range` of a 206 answer says: first byte, last byte, size of the whole. */
export function parseContentRange(header: string): { readonly first: number; readonly last: number; readonly size: number | undefined } | undefined {
  const parts = /^bytes ([0-9]{1,16})-([0-9]{1,16})\/([0-9]{1,16}|\*)$/.exec(header);
  if (parts === null) return undefined;
  const [first, last] = [Number(parts[1]), Number(parts[2])];
  return { first, last, size: parts[3] === "*" ? undefined : Number(parts[3]) };
}

/** How much older than the answer a date must be to stand for one content: what was written since would have another. In milliseconds. */
const SETTLED = 60_000;
/** Longest validator that is used, in characters. */
const MAX_VALIDATOR = 80;

/**
 * What `If-Range` may be asked with (RFC 9110 section 13.1.5): a strong entity tag, or, where there is none of either kind, the date of
 * a content that had not just changed. Undefined where the answer has nothing that stands for its content byte by byte.
 */
export function strongValidator(header: (name: string) => string | undefined): string | undefined {
  const tag = header("etag");
  if (tag !== undefined) return tag.length <= MAX_VALIDATOR && /^"[\x21\x23-\x7e]*"$/.test(tag) ? tag : undefined;
  const modified = header("last-modified") ?? "";
  const [at, date] = [parseHttpDate(modified), parseHttpDate(header("date") ?? "")];
  return at !== undefined && date !== undefined && date - at >= SETTLED ? modified : undefined;
}
