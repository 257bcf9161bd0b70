/** The options of `devmesh up`, and the environment that they mean to the services. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import type { Env } from "@devmesh/mesh/config";
import { DevmeshError } from "@devmesh/mesh/errors";

/** What `up` was asked for. */
export interface UpOptions {
  /** What the services read their configuration from. */
  readonly env: Env;
  /** True: one line of JSON instead of words for people. */
  readonly json: boolean;
  /** True: no words for people. */
  readonly quiet: boolean;
}

/** What `devmesh up --help` prints. */
export const upHelp = `devmesh up: the whole platform in one process

  --api-port N           the public port (default 8080; 0: any)
  --private-ports auto   any free ports for mcp, inference and vm (default 7000, 7100, 7200)
  --data-dir DIR         where everything is kept (default ~/.local/share/devmesh)
  --dev                  calls from this machine need no token
  --log-level LEVEL      trace, debug, info, warn (default), error, silent
  --json                 one line of JSON when it is up
  -q, --quiet            say nothing when it is up

Every other setting is an environment variable: see docs/configuration.md.
`;

/** Reads the arguments. Throws INVALID_FIELD that names the option. */
export function readUpOptions(argv: readonly string[], processEnv: Env): UpOptions {
  const { values, positionals } = parse(argv, {
    "api-port": { type: "string" },
    "private-ports": { type: "string" },
    "data-dir": { type: "string" },
    "log-level": { type: "string" },
    dev: { type: "boolean" },
    json: { type: "boolean" },
    quiet: { type: "boolean", short: "q" },
  });
  if (positionals.length > 0) throw invalid("up", `unexpected argument ${positionals[0]}`);
  const env: Record<string, string | undefined> = { ...defaults(), ...processEnv };
  if (values["api-port"] !== undefined) env.API_PORT = values["api-port"];
  if (values["data-dir"] !== undefined) env.DEVMESH_DATA_DIR = resolve(values["data-dir"]);
  if (values["log-level"] !== undefined) env.LOG_LEVEL = values["log-level"];
  if (values.dev === true) env.DEV_BYPASS = "true";
  const ports = values["private-ports"] ?? "default";
  if (ports === "auto") {
    for (const name of ["MCP_PORT", "INFERENCE_PORT", "VM_PORT"]) env[name] = "0";
  } else if (ports !== "default") {
    throw invalid("--private-ports", "wants auto or default");
  }
  return { env, json: values.json === true, quiet: values.quiet === true };
}

function parse<T extends ParseArgsOptionsConfig>(argv: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true });
  } catch (error) {
    throw invalid("up", error instanceof Error ? error.message : "unreadable options");
  }
}

/** What is built beside this package, and a quiet log. */
function defaults(): Record<string, string> {
  return { LOG_LEVEL: "warn", ...builtParts() };
}

/** Where the parts lie that are built beside this package. */
export function builtParts(): { CONSOLE_DIR?: string; AGENT_PATH?: string } {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const consoleDir = join(root, "web", "dist");
  const agentPath = join(root, "agents", "coder", "dist", "coder.mjs");
  return {
    ...(existsSync(consoleDir) && { CONSOLE_DIR: consoleDir }),
    ...(existsSync(agentPath) && { AGENT_PATH: agentPath }),
  };
}

function invalid(field: string, message: string): DevmeshError {
  return new DevmeshError("INVALID_FIELD", `${field}: ${message}`, { metadata: { field } });
}
