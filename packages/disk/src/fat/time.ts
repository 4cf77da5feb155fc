// The times of FAT: local time without a zone, from 1980 to 2107, in steps of two seconds. imgkit takes the local time to be UTC,
// as UEFI firmware without a zone and `mount -o tz=UTC` do.

export interface FatTime {
  /** Bits 15 to 9: years since 1980; 8 to 5: month; 4 to 0: day. */
  readonly date: number;
  /** Bits 15 to 11: hours; 10 to 5: minutes; 4 to 0: seconds / 2. */
  readonly time: number;
}

const NANOSECONDS = 1_000_000_000n;
const DAY = 86_400;
/** Days from 1970-01-01 to 1980-01-01, and to 2108-01-01. */
const FIRST_DAY = 3652;
const END_DAY = 50_403;

/**
 * Nanoseconds since 1970 as FAT has them, rounded down to two seconds; what is before 1980 as the first second of 1980. `undefined`
 * from 2108 on.
 */
export function encodeTime(mtime: bigint): FatTime | undefined {
  if (mtime >= BigInt(END_DAY * DAY) * NANOSECONDS) return undefined;
  const first = BigInt(FIRST_DAY * DAY) * NANOSECONDS;
  const seconds = Number((mtime < first ? first : mtime) / NANOSECONDS);
  const { year, month, day } = civil(Math.floor(seconds / DAY));
  const inDay = seconds % DAY;
  return {
    date: ((year - 1980) << 9) | (month << 5) | day,
    time: (Math.floor(inDay / 3600) << 11) | (Math.floor((inDay % 3600) / 60) << 5) | ((inDay % 60) >> 1),
  };
}

/** Nanoseconds since 1970; `undefined` for a date or time that is none. */
export function decodeTime({ date, time }: FatTime): bigint | undefined {
  const [year, month, day] = [1980 + (date >> 9), (date >> 5) & 15, date & 31];
  const [hour, minute, second] = [time >> 11, (time >> 5) & 63, 2 * (time & 31)];
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return undefined;
  const days = daysOf(year, month, day);
  if (civil(days).month !== month) return undefined;
  return BigInt(days * DAY + hour * 3600 + minute * 60 + second) * NANOSECONDS;
}

/** Days since 1970-01-01 of a date from 1980 to 2107. In these years only 2100 is a leap year by four and not by a hundred. */
function daysOf(year: number, month: number, day: number): number {
  const leapDays = Math.floor((year - 1977) / 4) - (year > 2100 ? 1 : 0);
  return FIRST_DAY + (year - 1980) * 365 + leapDays + daysBefore(year, month) + day - 1;
}

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

function monthDays(year: number, month: number): number {
  const leap = month === 2 && year % 4 === 0 && year !== 2100;
  return (MONTH_DAYS[month - 1] as number) + (leap ? 1 : 0);
}

function daysBefore(year: number, month: number): number {
  let days = 0;
  for (let m = 1; m < month; m++) days += monthDays(year, m);
  return days;
}

/** The date of a number of days since 1970, from 1980 to 2107. */
function civil(days: number): { year: number; month: number; day: number } {
  let year = 1980 + Math.floor((days - FIRST_DAY) / 366);
  while (daysOf(year + 1, 1, 1) <= days) year++;
  let rest = days - daysOf(year, 1, 1);
  let month = 1;
  for (let length = monthDays(year, month); rest >= length; length = monthDays(year, month)) {
    rest -= length;
    month++;
  }
  return { year, month, day: rest + 1 };
}
