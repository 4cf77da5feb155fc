import { Writable } from "node:stream";
import { expect, test } from "vitest";
import type { Io } from "../src/io.ts";
import { progressLine, startProgress } from "../src/progress.ts";

const MiB = 1024 * 1024;

/** What a job of 1000 MiB at 100 MiB/s draws in its first 2.5 seconds, updated every 50 ms. */
function drawn(terminal: { isTTY?: boolean; columns?: number }, show = true): string {
  const chunks: string[] = [];
  const stderr = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  let now = 7000;
  const progress = startProgress({ stderr: Object.assign(stderr, terminal), clock: () => now } as unknown as Io, "verity format", show);
  for (; now <= 9500; now += 50) progress.update(((now - 7000) / 1000) * 100 * MiB, 1000 * MiB);
  progress.end();
  return chunks.join("");
}

test("a terminal sees a bar, the share, the rate and the time left, and an empty line at the end", () => {
  const lines = drawn({ isTTY: true, columns: 100 }).split("\r").slice(1);
  expect(lines[0]).toBe("verity format [##----------------------------]   5%  50.0 MiB  100.0 MiB/s  10s left");
  expect(lines.length).toBeGreaterThan(15);
  expect(lines.at(-2)?.trim()).toBe("");
  expect(lines.at(-1)).toBe("");
});

test("no line is wider than the terminal, and one that does not know its width is taken for 80 columns", () => {
  for (const columns of [20, 40, 60, 80, 200]) {
    for (const line of drawn({ isTTY: true, columns }).split("\r")) expect(line.length).toBeLessThan(columns);
  }
  for (const line of [drawn({ isTTY: true, columns: 0 }), drawn({ isTTY: true })]) expect(line).toBe(drawn({ isTTY: true, columns: 80 }));
  expect(drawn({ isTTY: true, columns: 80 })).toContain("left");
});

test("a pipe and --no-progress see nothing", () => {
  expect([drawn({}), drawn({ isTTY: false, columns: 80 }), drawn({ isTTY: true, columns: 80 }, false)]).toEqual(["", "", ""]);
});

test("without a total there is the rate, and minutes are minutes", () => {
  expect(progressLine("x", 5 * MiB, undefined, 2, 80)).toBe("x  5.0 MiB  2.5 MiB/s");
  expect(progressLine("x", MiB, 100 * MiB, 1, 80)).toMatch(/ {3}1% {2}1\.0 MiB {2}1\.0 MiB\/s {2}1m39s left$/);
});
