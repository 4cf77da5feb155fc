import { Argument, type Command } from "commander";
import { completionScript, type Shell, shells } from "../completion.ts";
import type { Context } from "../context.ts";
import { writeAll } from "../io.ts";

const examples = `
Examples:
  $ source <(imgkit completion bash)
  $ imgkit completion zsh > "\${fpath[1]}/_imgkit"
  $ imgkit completion fish > ~/.config/fish/completions/imgkit.fish`;

export function addCompletion(program: Command, context: Context): void {
  program
    .command("completion")
    .summary("print a shell's completion script")
    .description("Prints a script that completes imgkit's commands and options.")
    .addArgument(new Argument("<shell>", "whose script").choices([...shells]))
    .addHelpText("after", examples)
    .action((shell: Shell) => writeAll(context.io.stdout, completionScript(program, shell)));
}
