import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "vitest";

/** Real packages and indexes, where they lie beside the checkout. */
export const realData: string = fileURLToPath(new URL("../../shared/data/apk/", import.meta.url));

/** A test on real data, or one that is skipped with the reason in its name. */
export function withRealData(name: string, job: () => Promise<void> | void, timeout?: number): void {
  if (existsSync(realData)) test(name, job, timeout);
  else test.skip(`${name} (skipped: the real apk data is not beside the checkout)`, () => undefined);
}
