import type { Command } from "commander";
import type { Context } from "../context.ts";
import { addUkiBuild } from "../uki/build.ts";
import { addUkiInspect } from "../uki/inspect.ts";
import { addUkiAttach, addUkiSign } from "../uki/sign.ts";

/** The spelling is ukify's where ukify has a word for it. */
export function addUki(program: Command, context: Context): void {
  const uki = program
    .command("uki")
    .summary("unified kernel images: build, inspect, sign for Secure Boot")
    .description("Builds unified kernel images bit for bit as ukify does, shows what is in one, and signs them for Secure Boot with a key here or elsewhere.");
  addUkiBuild(uki, context);
  addUkiInspect(uki, context);
  addUkiSign(uki, context);
  addUkiAttach(uki, context);
}
