// config.md, `User`: `user`, `uid`, `user:group`, `uid:gid`, `uid:group`, `user:gid`.

/** Runtimes hold ids as int32. Above it, some took the number for 0: the container ran as root (CVE-2024-40635). */
const ID_MAX = 2 ** 31 - 1;

export const USER_SHAPE: string = `USER or UID, optionally :GROUP or :GID, with ids of at most ${ID_MAX}`;

/** Whether no number in the text is beyond what runtimes hold. */
export function userIsSafe(user: string): boolean {
  return user.split(":").every((part) => !/^[+-]?[0-9]+$/.test(part) || (/^[0-9]{1,10}$/.test(part) && Number(part) <= ID_MAX));
}

/** Whether the text is one that imgkit writes: the shape above, of portable user names. */
export function userIsWellFormed(user: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(:[A-Za-z0-9_][A-Za-z0-9_.-]*\$?)?$/.test(user) && userIsSafe(user);
}
