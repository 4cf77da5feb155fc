import type { Io } from "./io.ts";

/** Shows how far a long job is, on a terminal only. */
export interface Progress {
  /** `total` undefined: not known. Both in bytes. */
  update(done: number, total?: number): void;
  /** Clears the line. */
  end(): void;
}

const silent: Progress = { update() {}, end() {} };

/** Milliseconds between two drawings, and before the first: short jobs show nothing. */
const INTERVAL = 100;
const PATIENCE = 500;

export function startProgress(io: Io, label: string, show: boolean): Progress {
  if (!show || io.stderr.isTTY !== true) return silent;
  const start = io.clock();
  let drawn = start + PATIENCE - INTERVAL;
  let width = 0;
  return {
    update(done, total) {
      const now = io.clock();
      if (now - drawn < INTERVAL) return;
      drawn = now;
      // A serial console says that it has 0 columns: it does not know.
      const line = progressLine(label, done, total, (now - start) / 1000, (io.stderr.columns || 80) - 1);
      io.stderr.write(`\r${line.padEnd(width)}`);
      width = line.length;
    },
    end() {
      if (width > 0) io.stderr.write(`\r${" ".repeat(width)}\r`);
      width = 0;
    },
  };
}

/** One line of at most `columns` characters; `seconds` since the job's start. */
export function progressLine(label: string, done: number, total: number | undefined, seconds: number, columns: number): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const speed = `${formatBytes(done)}  ${formatBytes(rate)}/s`;
  if (total === undefined || total === 0) return `${label}  ${speed}`.slice(0, columns);
  const share = Math.min(1, done / total);
  const left = rate > 0 ? ` ${formatSeconds((total - done) / rate)} left` : "";
  const tail = ` ${String(Math.floor(share * 100)).padStart(3)}%  ${speed} ${left}`;
  const room = Math.min(30, columns - label.length - tail.length - 4);
  const bar = room < 5 ? "" : ` [${"#".repeat(Math.round(share * room)).padEnd(room, "-")}]`;
  return `${label}${bar}${tail}`.slice(0, columns);
}

/** Bytes for people: binary units, at most one decimal. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole}s` : `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, "0")}s`;
}
