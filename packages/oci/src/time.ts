// RFC 3339 without a clock and without Date: dates are arithmetic on days.
import { OciError } from "./errors.ts";

/** 9999-12-31T23:59:59Z, the last second that RFC 3339 can write. */
export const EPOCH_MAX = 253_402_300_799;

/**
 * Seconds since 1970-01-01 UTC as `2023-11-14T22:13:20Z`.
 * @throws OciError BAD_EPOCH unless it is an integer from 0 to 253402300799.
 */
export function formatEpoch(epoch: number): string {
  if (!Number.isSafeInteger(epoch) || epoch < 0 || epoch > EPOCH_MAX) {
    throw new OciError("BAD_EPOCH", "not a time that an image can hold", {
      field: "epoch",
      expected: `whole seconds since 1970-01-01 UTC, 0 to ${EPOCH_MAX}`,
      found: String(epoch),
    });
  }
  const days = Math.floor(epoch / 86_400);
  const second = epoch % 86_400;
  const [year, month, day] = civil(days);
  const two = (value: number): string => String(value).padStart(2, "0");
  const time = `${two(Math.floor(second / 3600))}:${two(Math.floor(second / 60) % 60)}:${two(second % 60)}`;
  return `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}T${time}Z`;
}

/** The Gregorian date of a day counted from 1970-01-01. */
function civil(days: number): [year: number, month: number, day: number] {
  let year = 1970 + Math.floor(days / 366);
  while (daysBefore(year + 1) <= days) year++;
  let rest = days - daysBefore(year);
  let month = 1;
  while (rest >= monthLength(year, month)) rest -= monthLength(year, month++);
  return [year, month, rest + 1];
}

/** Days from 1970-01-01 to the first of January of a year from 1970 on. */
function daysBefore(year: number): number {
  const leaps = (y: number): number => Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400);
  return 365 * (year - 1970) + leaps(year - 1) - leaps(1969);
}

function monthLength(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

const pattern = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-](\d\d):(\d\d))$/;

/** Whether a text is a date-time of RFC 3339 section 5.6. */
export function isRfc3339(text: string): boolean {
  const parts = pattern.exec(text);
  if (parts === null) return false;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1, 7).map(Number);
  const [zoneHour, zoneMinute] = [Number(parts[9] ?? 0), Number(parts[10] ?? 0)];
  if (month < 1 || month > 12 || day < 1 || day > monthLength(year, month)) return false;
  return hour < 24 && minute < 60 && second <= 60 && zoneHour < 24 && zoneMinute < 60;
}

/** The inverse of `formatEpoch`: undefined for what it never writes (a fraction, a zone, a time before 1970). */
export function parseTime(text: string): number | undefined {
  const parts = pattern.exec(text);
  if (parts === null || !isRfc3339(text)) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1, 7).map(Number);
  if (year < 1970) return undefined;
  let days = daysBefore(year) + day - 1;
  for (let before = 1; before < month; before++) days += monthLength(year, before);
  const epoch = days * 86_400 + hour * 3600 + minute * 60 + second;
  return epoch <= EPOCH_MAX && formatEpoch(epoch) === text ? epoch : undefined;
}
