import type { Fetcher, OpenedFile } from "./fetcher.ts";
import type { PlannedPackage } from "./plan.ts";

const AT_ONCE = 4;

/**
 * Opens packages some way ahead of their turn, so that several are fetched at once, and has each used in its turn. What `use` throws about
 * is rejected; nothing is left open.
 */
export async function eachPackage(
  packages: readonly PlannedPackage[],
  fetcher: Fetcher,
  use: (planned: PlannedPackage, file: OpenedFile, index: number) => Promise<void>,
): Promise<void> {
  const opening: Promise<OpenedFile>[] = [];
  let asked = 0;
  const next = (): Promise<OpenedFile> => {
    for (const { place, file, maxSize } of packages.slice(asked, asked + AT_ONCE - opening.length)) {
      const opened = fetcher.open(place, file, { maxSize });
      // It is awaited in its turn.
      opened.catch(() => undefined);
      opening.push(opened);
      asked++;
    }
    return opening.shift() as Promise<OpenedFile>;
  };
  try {
    for (const [i, planned] of packages.entries()) {
      const file = await next();
      try {
        await use(planned, file, i);
      } catch (error) {
        file.reject?.();
        throw error;
      } finally {
        file.close();
      }
    }
  } finally {
    for (const result of await Promise.allSettled(opening)) if (result.status === "fulfilled") result.value.close();
  }
}
