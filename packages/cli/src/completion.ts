import type { Command, Option } from "commander";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

/** A command with the words that lead to it. */
interface Place {
  readonly words: readonly string[];
  readonly command: Command;
}

function places(command: Command, words: readonly string[] = []): Place[] {
  return [{ words, command }, ...command.commands.flatMap((child) => places(child, [...words, child.name()]))];
}

function optionsOf(command: Command): readonly Option[] {
  return command.createHelp().visibleOptions(command);
}

function flagsOf(option: Option): string[] {
  return [option.short, option.long].filter((flag) => flag !== undefined && flag !== null) as string[];
}

/** The completion script of one shell, made from the program's own description. */
export function completionScript(program: Command, shell: Shell): string {
  return { bash, zsh, fish }[shell](program);
}

function bash(program: Command): string {
  const cases = places(program).map(({ words, command }) => {
    const choices = [
      ...command.commands.map((c) => c.name()),
      ...command.registeredArguments.flatMap((a) => a.argChoices ?? []),
      ...optionsOf(command).flatMap(flagsOf),
    ];
    return `    "${words.join(" ")}") words="${choices.join(" ")}" ;;`;
  });
  const values = valueCases(program).map(([flag, choices]) => `    ${flag}) COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$current")); return ;;`);
  return `# bash completion for imgkit
_imgkit() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" words="" word
  case "$previous" in
${values.join("\n")}
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${places(program)
  .filter((p) => p.words.length > 0)
  .map(({ words }) => `      "${words.slice(0, -1).join(" ")} ${words.at(-1)}") path="${words.join(" ")}" ;;`)
  .join("\n")}
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  if [[ "$current" == -* || -z "$path" || "$words" != -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
  if [[ \${#COMPREPLY[@]} -eq 0 ]]; then
    local IFS=$'\\n'
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -o filenames -F _imgkit imgkit
`;
}

/** Options whose values are a fixed set, by flag. */
function valueCases(program: Command): [string, readonly string[]][] {
  const out = new Map<string, readonly string[]>();
  for (const { command } of places(program)) {
    for (const option of optionsOf(command)) if (option.argChoices !== undefined && option.long) out.set(option.long, option.argChoices);
  }
  return [...out];
}

function zsh(program: Command): string {
  const quote = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(":", "\\:").replaceAll("[", "\\[").replaceAll("]", "\\]");
  const functions = places(program).map(({ words, command }) => {
    const name = ["_imgkit", ...words].join("_");
    const specs = optionsOf(command).flatMap((option) =>
      flagsOf(option).map((flag) => {
        const value =
          option.required || option.optional ? `:${option.attributeName()}:${option.argChoices ? `(${option.argChoices.join(" ")})` : "_files"}` : "";
        return `    '${flag}[${quote(option.description)}]${value}'`;
      }),
    );
    if (command.commands.length === 0) return `${name}() {\n  _arguments \\\n${[...specs, "    '*:file:_files'"].join(" \\\n")}\n}`;
    const children = command.commands.map((c) => `    '${c.name()}:${quote(c.summary() || c.description())}'`);
    const calls = command.commands.map((c) => `    ${c.name()}) ${name}_${c.name()} ;;`);
    return `${name}() {
  local -a commands=(
${children.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case "$words[1]" in
${calls.join("\n")}
  esac
}`;
  });
  return `#compdef imgkit\n${functions.reverse().join("\n\n")}\n\n_imgkit "$@"\n`;
}

function fish(program: Command): string {
  const quote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines: string[] = [];
  for (const { words, command } of places(program)) {
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
    const children = command.commands.map((c) => c.name()).join(" ");
    const condition = words.length === 0 ? "__fish_use_subcommand" : seen;
    for (const child of command.commands) {
      const open = children === "" || words.length === 0 ? condition : `${condition}; and not __fish_seen_subcommand_from ${children}`;
      lines.push(`complete -c imgkit -f -n ${quote(open)} -a ${child.name()} -d ${quote(child.summary() || child.description())}`);
    }
    for (const option of optionsOf(command)) {
      const flags = [option.short ? `-s ${option.short.slice(1)}` : "", option.long ? `-l ${option.long.slice(2)}` : ""].filter((f) => f !== "").join(" ");
      const value = option.argChoices ? ` -x -a ${quote(option.argChoices.join(" "))}` : option.required ? " -r" : "";
      lines.push(`complete -c imgkit -n ${quote(condition)} ${flags}${value} -d ${quote(option.description)}`);
    }
  }
  return `# fish completion for imgkit\n${lines.join("\n")}\n`;
}
