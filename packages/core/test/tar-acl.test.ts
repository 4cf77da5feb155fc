import { toHex } from "@imgkit/bytes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aclFromText } from "../src/tar/acl.ts";
import { bytes, entry, pax, read } from "./tar-craft.ts";

const hexOf = (text: string): string | undefined => {
  const acl = aclFromText(bytes(text));
  return acl === undefined ? undefined : acl.xattr === undefined ? "none" : toHex(acl.xattr);
};

const u1000 = "0200000001000600ffffffff 02000400e8030000 04000400ffffffff 10000400ffffffff 20000400ffffffff".replaceAll(" ", "");

describe("an ACL as text becomes the xattr that setfacl makes", () => {
  const table: [what: string, text: string, expected: string | undefined][] = [
    ["bsdtar's, the number behind the name", "user::rw-,group::r--,other::r--,user:me:r--:1000,mask::r--", u1000],
    ["GNU tar's with --numeric-owner, by lines", "user::rw-\nuser:1000:r--\ngroup::r--\nmask::r--\nother::r--\n", u1000],
    ["an entry with what is effective behind it", "user::rw-\nuser:1000:r--\t#effective:r--\ngroup::r--\nmask::r--\nother::r--\n", u1000],
    ["no more than the mode", "user::rw-,group::r--,other::r--", "none"],
    ["a name without a number", "user::rw-,user:me:r--,group::r--,mask::r--,other::r--", undefined],
    ["no mask", "user::rw-,user:1000:r--,group::r--,other::r--", undefined],
    ["one user twice", "user::rw-,user:1000:r--,user:1000:rw-,group::r--,mask::r--,other::r--", undefined],
    ["an NFSv4 entry", "owner@:rwxpDdaARWcCos:-------:allow", undefined],
    ["nothing", "", undefined],
    ["an id that is none", "user::rw-,user:4294967295:r--,group::r--,mask::r--,other::r--", undefined],
  ];
  test.each(table)("%s", (_, text, expected) => expect(hexOf(text)).toBe(expected));
});

test("the order of an ACL's lines changes nothing", () => {
  const lines = ["user::rwx", "user:7:r-x", "user:3000000:-w-", "group::r-x", "group:9:---", "mask::rwx", "other::--x"];
  const expected = hexOf(lines.join("\n"));
  fc.assert(fc.property(fc.shuffledSubarray(lines, { minLength: lines.length }), (shuffled) => hexOf(shuffled.join(",")) === expected));
  expect(expected).toMatch(/^02000000/);
});

test("a mode's group is the mask of its ACL, as Linux shows it", () => {
  expect(aclFromText(bytes("user::rwx,group::r--,other::--x,user:7:rw-,mask::rw-"))?.permissions).toBe(0o761);
  expect(aclFromText(bytes("user::rw-,group::r--,other::---"))?.permissions).toBe(0o640);
});

test("an ACL of which the xattr is there as well is not told as lost", async () => {
  const records: [string, string][] = [
    ["SCHILY.acl.access", "user::rw-,user:me:r--,group::r--,mask::r--,other::r--"],
    ["SCHILY.xattr.system.posix_acl_access", "theirs"],
  ];
  const { tree, findings } = await read([entry({ name: "./", typeflag: "5" }), pax(records), entry({ name: "a" })]);
  expect(findings).toEqual([]);
  expect(tree.get("a")?.xattrs.get("system.posix_acl_access")).toEqual(bytes("theirs"));
});

test("an ACL that names users without their numbers is told", async () => {
  const text = "user::rw-,user:me:r--,group::r--,mask::r--,other::r--";
  const { tree, findings } = await read([entry({ name: "./", typeflag: "5" }), pax([["SCHILY.acl.access", text]]), entry({ name: "a" })]);
  expect(findings).toMatchObject([{ code: "ACL_TEXT_DROPPED", path: "a" }]);
  expect(tree.get("a")?.xattrs.size).toBe(0);
});

test("GNU tar's SELinux label becomes the xattr, with the kernel's NUL", async () => {
  const label = "system_u:object_r:etc_t:s0";
  const { tree, findings } = await read([entry({ name: "./", typeflag: "5" }), pax([["RHT.security.selinux", label]]), entry({ name: "a" })]);
  expect(findings).toEqual([]);
  expect(tree.get("a")?.xattrs.get("security.selinux")).toEqual(bytes(`${label}\0`));
});
