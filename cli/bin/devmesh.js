#!/usr/bin/env node
// Finds a Node that can run the command line, answers `--version` at once, and
// hands over to `dist/main.js` where it is built, else to the sources.
import { existsSync, readFileSync } from "node:fs";
import module, { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const argv = process.argv.slice(2);

function runsTypeScript(version) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 18);
}

/** The Node of this installation, or undefined. */
function installedNode() {
  try {
    const root = dirname(createRequire(import.meta.url).resolve("node/package.json"));
    const binary = join(root, "bin", process.platform === "win32" ? "node.exe" : "node");
    return existsSync(binary) ? binary : undefined;
  } catch {
    // The package is not installed.
    return undefined;
  }
}

async function runWith(binary) {
  const { spawn } = await import("node:child_process");
  const child = spawn(binary, [fileURLToPath(import.meta.url), ...argv], {
    stdio: "inherit",
    env: { ...process.env, DEVMESH_REEXEC: "1" },
  });
  // A terminal sends Ctrl-C to both processes; only a signal to this one alone is passed on.
  process.on("SIGINT", () => {
    if (!process.stdin.isTTY) child.kill("SIGINT");
  });
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`error: ${binary} could not be started: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 128 + (signal === "SIGINT" ? 2 : 15);
  });
}

if (argv.length === 1 && (argv[0] === "--version" || argv[0] === "-V")) {
  const { version } = JSON.parse(readFileSync(join(here, "..", "package.json"), "utf8"));
  process.stdout.write(`devmesh ${version}\n`);
} else if (runsTypeScript(process.versions.node)) {
  // Keeps compiled code between runs, so that a command starts in half the time.
  module.enableCompileCache?.();
  const built = join(here, "..", "dist", "main.js");
  const entry = existsSync(built) ? built : join(here, "..", "src", "main.ts");
  const { main } = await import(pathToFileURL(entry).href);
  process.exitCode = await main(argv);
} else {
  const binary = process.env.DEVMESH_REEXEC ? undefined : installedNode();
  if (binary === undefined) {
    process.stderr.write(
      `error: devmesh needs Node 22.18 or newer, this is ${process.versions.node}\n` +
        "remedy: install a newer Node, or the npm package `node` beside devmesh\n",
    );
    process.exitCode = 1;
  } else {
    await runWith(binary);
  }
}
