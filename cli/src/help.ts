/** Owns the help texts; they are made from the tables that the program itself uses. */
import { globalOptions, type OptionTable } from "./args.ts";
import type { Command } from "./command.ts";
import { exitCodeHelp } from "./exit-codes.ts";
import { commands } from "./registry.ts";

/** The help of the whole, or of a group as `jobs`. */
export function formatHelp(group?: string): string {
  const names = Object.keys(commands).filter(
    (name) => group === undefined || name.startsWith(`${group} `),
  );
  const rows = names.map((name) => [name, commands[name]?.summary ?? ""] as const);
  return [
    `devmesh${group === undefined ? "" : ` ${group}`}: development work by jobs and agents, on your own machines\n`,
    `usage: devmesh ${group === undefined ? "COMMAND" : `${group} COMMAND`} [options]\n`,
    "commands:",
    formatPairs(rows),
    "options of every command:",
    formatOptions(globalOptions),
    formatExitCodes(),
    "`devmesh COMMAND --help` tells more.\n",
  ].join("\n");
}

/** The help of one command. */
export function formatCommandHelp(command: Command): string {
  const own = Object.keys(command.options).length > 0;
  return [
    `${command.summary}\n`,
    `usage: devmesh ${command.usage}\n`,
    ...(own ? ["options:", formatOptions(command.options)] : []),
    ...(command.passThrough === true
      ? []
      : ["options of every command:", formatOptions(globalOptions)]),
    ...(command.notes === undefined ? [] : [`${command.notes}\n`]),
    formatExitCodes(),
  ].join("\n");
}

function formatExitCodes(): string {
  return `exit codes:\n${formatPairs(exitCodeHelp.map(([code, text]) => [String(code), text]))}`;
}

function formatOptions(table: OptionTable): string {
  return formatPairs(
    Object.entries(table).map(([name, { short, value, help }]) => [
      `${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`,
      help,
    ]),
  );
}

function formatPairs(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([left]) => left.length));
  return pairs.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join("");
}
