// /etc/passwd, /etc/group, /etc/shadow and home folders, by apko's pkg/build/accounts.go and pkg/passwd.
import { ApkError } from "../errors.ts";
import type { Root } from "../install/root.ts";
import type { ApkoConfig, ApkoUser } from "./config.ts";

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly line: string;
}

/** Adds the accounts, and makes the home folders that are missing. The user to run as, as a number where it is a known name. */
export async function addAccounts(root: Root, { accounts }: ApkoConfig): Promise<string | undefined> {
  const { users, groups, runAs } = accounts;
  if (groups.length > 0) {
    const lines = linesOf(await root.text("etc/group"));
    for (const { groupname, gid, members = [] } of groups) lines.push(`${groupname}:x:${gid}:${members.join(",")}`);
    write(root, "etc/group", lines, 0o644);
  }
  const known = linesOf(await root.text("etc/passwd")).map(parseAccount);
  const all = [...known, ...users.map(newAccount)];
  for (const account of all) makeHome(root, account);
  write(
    root,
    "etc/passwd",
    all.map(({ line }) => line),
    0o644,
  );
  if (users.length > 0) {
    // Accounts of services: nobody logs in.
    const lines = [...linesOf(await root.text("etc/shadow")), ...users.map(({ username }) => `${username}:!:::::::`)];
    write(root, "etc/shadow", lines, 0o640);
  }
  const runner = all.find(({ name }) => name === runAs);
  return runner === undefined ? runAs : String(runner.uid);
}

function linesOf(text: string | undefined): string[] {
  return (text ?? "").split("\n").filter((line) => line !== "");
}

/** Where links lead, inside of the root: a link is not replaced by a file that has the link's mode. */
function write(root: Root, path: string, lines: readonly string[], mode: number): void {
  const at = root.followed(path)?.path ?? root.resolve(path);
  root.folder(at.slice(0, Math.max(0, at.lastIndexOf("/"))));
  const before = root.get(at);
  if (before !== undefined && before.type !== "file")
    throw new ApkError("FILE_CONFLICT", "a list of accounts is to be where something else is", { path, found: before.type });
  root.file(at, lines.map((line) => `${line}\n`).join(""), before?.mode ?? mode);
}

function parseAccount(line: string): Account {
  const [name = "", , uid, gid, , home = ""] = line.split(":");
  if (line.split(":").length !== 7 || !/^[0-9]+$/.test(uid ?? "") || !/^[0-9]+$/.test(gid ?? ""))
    throw new ApkError("BAD_PACKAGE", "a line that is no account", { path: "etc/passwd", found: JSON.stringify(line) });
  return { name, uid: Number(uid), gid: Number(gid), home, line };
}

function newAccount({ username, uid, gid = uid, shell = "/bin/sh", homedir }: ApkoUser): Account {
  return { name: username, uid, gid, home: homedir, line: `${username}:x:${uid}:${gid}:Account created by apko:${homedir}:${shell}` };
}

function makeHome(root: Root, { name, uid, gid, home }: Account): void {
  if (home === "/dev/null") return;
  const path = root.resolve(home);
  const found = root.get(path);
  if (path === "" || found?.type === "directory") return;
  if (found !== undefined)
    throw new ApkError("FILE_CONFLICT", "a home folder is to be where something else is", { path, found: found.type, expected: `the home of ${name}` });
  root.folder(path, 0o700);
  root.put({ type: "directory", ...root.meta(path, 0o700), uid, gid });
}
