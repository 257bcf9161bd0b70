/** Owns the table of commands; each is loaded when it is called. */
import type { Command } from "./command.ts";

/** A command that is not loaded yet. */
export interface CommandEntry {
  readonly summary: string;
  /** True: it lists what its word names, and may be called with `list` behind it. */
  readonly lists?: boolean;
  load(): Promise<{ readonly command: Command }>;
}

/** All commands by their words. */
export const commands: Readonly<Record<string, CommandEntry>> = {
  up: { summary: "start all services on this machine", load: () => import("./commands/up.ts") },
  serve: { summary: "start one service alone", load: () => import("./commands/serve.ts") },
  runner: {
    summary: "let this machine run jobs of a server elsewhere",
    load: () => import("./commands/runner.ts"),
  },
  "runner install": {
    summary: "set a runner up on another machine, over ssh",
    load: () => import("./commands/runner-install.ts"),
  },
  "runner uninstall": {
    summary: "remove the runner of another machine",
    load: () => import("./commands/runner-uninstall.ts"),
  },
  chaos: {
    summary: "kill a throw-away platform under load and verify it",
    load: () => import("./commands/chaos.ts"),
  },
  run: { summary: "run a command as a job", load: () => import("./commands/run.ts") },
  agent: { summary: "let the coding agent do a task", load: () => import("./commands/agent.ts") },
  "jobs list": { summary: "list jobs", load: () => import("./commands/jobs-list.ts") },
  "jobs get": { summary: "show a job", load: () => import("./commands/jobs-get.ts") },
  "jobs why": {
    summary: "say why a job is not running",
    load: () => import("./commands/jobs-why.ts"),
  },
  "jobs watch": { summary: "follow a job's log", load: () => import("./commands/jobs-watch.ts") },
  "jobs log": {
    summary: "print or save a job's raw log",
    load: () => import("./commands/jobs-log.ts"),
  },
  "jobs answer": {
    summary: "answer a job's agent that asks",
    load: () => import("./commands/jobs-answer.ts"),
  },
  "jobs cancel": { summary: "cancel a job", load: () => import("./commands/jobs-cancel.ts") },
  "jobs retry": {
    summary: "run ended jobs again",
    load: () => import("./commands/jobs-retry.ts"),
  },
  "jobs artifacts": {
    summary: "list or download what a job left",
    load: () => import("./commands/jobs-artifacts.ts"),
  },
  queue: { summary: "show the queue", load: () => import("./commands/queue.ts") },
  "queue pause": {
    summary: "start no more jobs",
    load: () => import("./commands/queue-pause.ts"),
  },
  "queue resume": {
    summary: "start jobs again",
    load: () => import("./commands/queue-resume.ts"),
  },
  agents: {
    summary: "list the runners",
    lists: true,
    load: () => import("./commands/agents.ts"),
  },
  "agents drain": {
    summary: "let a runner take no new jobs",
    load: () => import("./commands/agents-drain.ts"),
  },
  "agents resume": {
    summary: "let a drained runner take jobs again",
    load: () => import("./commands/agents-resume.ts"),
  },
  sandboxes: {
    summary: "list this host's sandboxes",
    lists: true,
    load: () => import("./commands/sandboxes.ts"),
  },
  "sandboxes get": {
    summary: "show what holds a sandbox, and what it uses",
    load: () => import("./commands/sandboxes-get.ts"),
  },
  "sandboxes freeze": {
    summary: "stop everything in a sandbox",
    load: () => import("./commands/sandboxes-freeze.ts"),
  },
  "sandboxes resume": {
    summary: "let a frozen sandbox go on",
    load: () => import("./commands/sandboxes-resume.ts"),
  },
  "sandboxes delete": {
    summary: "remove a sandbox",
    load: () => import("./commands/sandboxes-delete.ts"),
  },
  "sandboxes sweep": {
    summary: "remove what sandboxes have left",
    load: () => import("./commands/sandboxes-sweep.ts"),
  },
  ingest: { summary: "add files to the memory", load: () => import("./commands/ingest.ts") },
  search: { summary: "search the memory", load: () => import("./commands/search.ts") },
  infer: { summary: "ask a model", load: () => import("./commands/infer.ts") },
  models: { summary: "list models and providers", load: () => import("./commands/models.ts") },
  "tokens create": { summary: "make a token", load: () => import("./commands/tokens-create.ts") },
  "tokens list": { summary: "list tokens", load: () => import("./commands/tokens-list.ts") },
  "tokens revoke": { summary: "end a token", load: () => import("./commands/tokens-revoke.ts") },
  backup: { summary: "write a backup to a file", load: () => import("./commands/backup.ts") },
  restore: {
    summary: "restore a backup into an empty place",
    load: () => import("./commands/restore.ts"),
  },
  "tokens rotate": {
    summary: "give a token a new secret",
    load: () => import("./commands/tokens-rotate.ts"),
  },
  "audit list": {
    summary: "list who changed what",
    load: () => import("./commands/audit-list.ts"),
  },
  "audit verify": {
    summary: "check that no audit row was changed",
    load: () => import("./commands/audit-verify.ts"),
  },
  settings: {
    summary: "show what changes without a restart",
    load: () => import("./commands/settings.ts"),
  },
  "settings set": {
    summary: "change settings",
    load: () => import("./commands/settings-set.ts"),
  },
  "settings reset": {
    summary: "give settings back to the environment",
    load: () => import("./commands/settings-reset.ts"),
  },
  doctor: {
    summary: "check what works and what does not",
    load: () => import("./commands/doctor.ts"),
  },
  console: {
    summary: "print a one-time link to the console",
    load: () => import("./commands/console.ts"),
  },
};

/** Finds the command that words name; longer names first. */
export function findCommand(
  words: readonly string[],
): { readonly name: string; readonly entry: CommandEntry; readonly length: number } | undefined {
  for (const length of [2, 1]) {
    const name = words.slice(0, length).join(" ");
    const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (entry === undefined || words.length < length) continue;
    const saysList = length === 1 && entry.lists === true && words[1] === "list";
    return { name, entry, length: saysList ? 2 : length };
  }
  return undefined;
}

/** The commands that a first word stands for, as `jobs` does. */
export function commandsUnder(word: string): string[] {
  return Object.keys(commands).filter((name) => name.startsWith(`${word} `));
}
