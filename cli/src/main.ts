/** Owns one run of the command line: find the command, read its arguments, report its error. */
import type { NodeDevmesh } from "@devmesh/sdk/node";
import { Args, globalOptions, readArgs } from "./args.ts";
import type { Command, CommandContext } from "./command.ts";
import { resolveToken, resolveUrl } from "./connection.ts";
import { describeError, formatError } from "./error-report.ts";
import { exitCodes } from "./exit-codes.ts";
import { formatCommandHelp, formatHelp } from "./help.ts";
import { listenForInterrupts } from "./interrupts.ts";
import { Output, ReaderGoneError } from "./output.ts";
import { type CommandEntry, commands, commandsUnder, findCommand } from "./registry.ts";
import { createPaint } from "./style.ts";
import { UsageError } from "./usage-error.ts";
import { version } from "./version.ts";

/** Runs one command line; answers the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const { env, stdout, stderr } = process;
  const own = beforeTerminator(argv);
  const json = own.includes("--json");
  const quiet = own.includes("--quiet") || own.includes("-q");
  const output = new Output({ json, quiet, stdout, stderr });
  stdout.on("error", ignoreGoneReader);
  stderr.on("error", ignoreGoneReader);
  let url = "";
  try {
    const call = splitCall(argv);
    if (call.kind === "text") {
      await output.data(call.text);
      return call.exitCode;
    }
    const { command } = await call.entry.load();
    if (call.wantsHelp) {
      await output.data(formatCommandHelp(command));
      await command.showMoreHelp?.();
      return exitCodes.ok;
    }
    const args = isUnread(command, call.argv)
      ? Args.unread(call.argv)
      : readArgs(call.argv, command.options);
    url = resolveUrl(args, env);
    const interrupts = listenForInterrupts();
    let devmesh: NodeDevmesh | undefined;
    const { createDevmesh } = await import("@devmesh/sdk/node");
    const serverUrl = url;
    const context: CommandContext = {
      args,
      output,
      env,
      url,
      paint: createPaint(env, stdout),
      get token() {
        return resolveToken(args, env, serverUrl);
      },
      interrupts,
      devmesh: () => {
        const token = resolveToken(args, env, serverUrl);
        devmesh ??= createDevmesh({
          baseUrl: serverUrl,
          insecure: args.flag("insecure"),
          ...(token !== undefined && { token }),
        });
        return devmesh;
      },
    };
    try {
      return await command.run(context);
    } finally {
      devmesh?.close();
      interrupts.close();
    }
  } catch (error) {
    if (error instanceof ReaderGoneError) return exitCodes.readerGone;
    const report = describeError(error, url);
    await output.raw(json ? `${JSON.stringify({ error: report })}\n` : formatError(report));
    return report.exitCode;
  }
}

function isUnread({ passThrough = false }: Command, argv: readonly string[]): boolean {
  return typeof passThrough === "function" ? passThrough(argv) : passThrough;
}

type Call =
  | { readonly kind: "text"; readonly text: string; readonly exitCode: number }
  | {
      readonly kind: "command";
      readonly entry: CommandEntry;
      readonly argv: readonly string[];
      readonly wantsHelp: boolean;
    };

/** Tells the command's words from options, which may also stand before them. */
function splitCall(argv: readonly string[]): Call {
  const leading: string[] = [];
  let at = 0;
  for (let word = argv[at]; word?.startsWith("-") && word !== "--"; word = argv[at]) {
    leading.push(word);
    at++;
    const takesValue = globalOptions[word.replace(/^--/, "")]?.value !== undefined;
    const value = argv[at];
    if (takesValue && value !== undefined) {
      leading.push(value);
      at++;
    }
  }
  let words = argv.slice(at);
  const asksForHelp = words[0] === "help";
  if (asksForHelp) words = words.slice(1);
  const [first] = words;
  const wantsHelp =
    asksForHelp ||
    [...leading, ...beforeTerminator(words)].some((w) => w === "--help" || w === "-h");
  if (leading.includes("--version") || leading.includes("-V")) {
    return { kind: "text", text: `devmesh ${version()}\n`, exitCode: exitCodes.ok };
  }
  if (first === undefined || first === "--") {
    if (wantsHelp) return { kind: "text", text: formatHelp(), exitCode: exitCodes.ok };
    throw new UsageError("a command is missing", "`devmesh --help` lists the commands");
  }
  const found = findCommand(words);
  if (found !== undefined) {
    const rest = [...leading, ...words.slice(found.length)];
    return { kind: "command", entry: found.entry, argv: rest, wantsHelp };
  }
  const group = commandsUnder(first);
  if (group.length > 0 && wantsHelp) {
    return { kind: "text", text: formatHelp(first), exitCode: exitCodes.ok };
  }
  throw unknownCommand(first, words[1], group);
}

function unknownCommand(first: string, second: string | undefined, group: string[]): UsageError {
  if (group.length > 0) {
    const wrong = second === undefined ? "a command is missing" : `no command "${first} ${second}"`;
    return new UsageError(wrong, `one of: ${group.join(", ")}`);
  }
  const near = Object.keys(commands).find((name) => name.startsWith(first.slice(0, 2)));
  return new UsageError(
    `there is no command ${JSON.stringify(first)}`,
    `${near === undefined ? "" : `did you mean \`devmesh ${near}\`? `}\`devmesh --help\` lists the commands`,
  );
}

function beforeTerminator(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end < 0 ? argv : argv.slice(0, end);
}

/** `devmesh … | head` ends early; that is the reader's right. */
function ignoreGoneReader(error: Error & { readonly code?: string }): void {
  if (error.code !== "EPIPE") throw error;
}
