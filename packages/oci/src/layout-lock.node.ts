// Several processes at one layout folder. Who replaces index.json, or takes blobs away, holds `.imgkit-lock`; who adds blobs that
// index.json does not lead to yet has a mark, `.imgkit-writer-…`, so that nobody takes them away. Both are folders that hold
// their owner's name, made beside and renamed into place: they appear with it. Those of a process that is gone are removed.
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { outputError, removeOnAbort } from "@imgkit/bytes/node";
import { OciError } from "./errors.ts";

const LOCK = ".imgkit-lock";
const WRITER = ".imgkit-writer-";
/** On its way to become one of them. */
const OWNED = ".imgkit-owner-";
const OWNER = "owner";

/** Milliseconds. */
const BETWEEN_TRIES = 25;
const PATIENCE = 60_000;

export interface LockOptions {
  /** How long to wait for another process, in milliseconds. Default a minute. */
  readonly patience?: number;
}

/**
 * Runs a job while no other process of imgkit changes what the layout lists.
 * @throws OciError LAYOUT_BUSY (kind system) when another one holds it for too long; BytesError OUTPUT_FAILED when the folder cannot be written.
 */
export async function withLayoutLock<T>(root: string, job: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  const place = join(root, LOCK);
  const own = prepare(root);
  try {
    await take(own, place, options.patience ?? PATIENCE);
  } catch (error) {
    rmSync(own, { recursive: true, force: true });
    throw error;
  }
  const forget = removeOnAbort(place);
  try {
    return await job();
  } finally {
    // Out of the way first: a folder that is being emptied could be replaced by the next one's.
    renameSync(place, own);
    forget();
    rmSync(own, { recursive: true, force: true });
  }
}

/** Marks a process that adds blobs, until the function that is returned is called. Waits for who holds the lock. */
export async function markWriter(root: string): Promise<() => void> {
  return withLayoutLock(root, async () => {
    const own = prepare(root);
    const place = join(root, `${WRITER}${own.slice(own.lastIndexOf("-") + 1)}`);
    renameSync(own, place);
    const forget = removeOnAbort(place);
    return () => {
      rmSync(place, { recursive: true, force: true });
      forget();
    };
  });
}

/** The marks of processes that add blobs; to be asked while holding the lock. What dead ones left is removed. */
export function writersOf(root: string): string[] {
  const alive = readdirSync(root).filter((name) => {
    if (!name.startsWith(WRITER) && !name.startsWith(OWNED)) return false;
    const place = join(root, name);
    const owner = ownerOf(place);
    if (owner === undefined || isAlive(owner)) return owner !== undefined;
    rmSync(place, { recursive: true, force: true });
    return false;
  });
  return alive.filter((name) => name.startsWith(WRITER));
}

/** A folder with our name in it. */
function prepare(root: string): string {
  try {
    const folder = mkdtempSync(join(root, OWNED));
    writeFileSync(join(folder, OWNER), `${hostname()} ${process.pid}\n`);
    return folder;
  } catch (cause) {
    throw outputError(root, cause);
  }
}

async function take(own: string, place: string, patience: number): Promise<void> {
  for (let waited = 0; ; waited += BETWEEN_TRIES) {
    try {
      // A folder that is not empty is never replaced.
      renameSync(own, place);
      return;
    } catch (cause) {
      const owner = ownerOf(place);
      // Gone in between: try again at once, unless it is something else that is wrong.
      if (owner === undefined && !isTaken(cause)) throw outputError(place, cause);
      if (owner !== undefined && !isAlive(owner)) remove(place, owner, own);
      if (waited >= patience) {
        throw new OciError(
          "LAYOUT_BUSY",
          "another process is at work in the layout",
          { path: place, found: owner ?? "no name", hint: "Wait for it, or remove the folder if there is none." },
          "system",
        );
      }
      await sleep(BETWEEN_TRIES);
    }
  }
}

function isTaken(error: unknown): boolean {
  return ["ENOTEMPTY", "EEXIST", "EPERM", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "");
}

function ownerOf(place: string): string | undefined {
  try {
    return readFileSync(join(place, OWNER), "utf8").trim();
  } catch {
    return undefined;
  }
}

/** Of another host's processes nothing is known: they count as alive. */
function isAlive(owner: string): boolean {
  const [, host, pid] = /^(.*) ([0-9]+)$/.exec(owner) ?? [];
  if (host !== hostname() || pid === undefined) return true;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Removes a dead process's lock. Two may do so at once: what is removed is looked at once more where nobody else reaches it. */
function remove(place: string, dead: string, own: string): void {
  const aside = `${own}.dead`;
  try {
    renameSync(place, aside);
  } catch {
    return;
  }
  if (ownerOf(aside) === dead) rmSync(aside, { recursive: true, force: true });
  else renameSync(aside, place);
}
