/**
 * Gets what a host needs for its sandboxes, for local models and for foreign agents:
 * `npm run setup -- process container coder vm models codex opencode`, or some of them.
 * As root on Debian it installs packages; elsewhere it says which are needed.
 */
import { ensureGuest } from "../deploy/guest/ensure-guest.ts";
import { ensureCoderImage } from "../deploy/images/coder-image.ts";
import { findBubblewrap } from "./parts/bubblewrap.ts";
import { ensureCodex } from "./parts/codex.ts";
import { ensureBaseImage, runningEngine } from "./parts/docker.ts";
import { ensureChatModel, ensureEmbeddingModel } from "./parts/models.ts";
import { ensureOpencode } from "./parts/opencode.ts";
import { type Found, missing, type PartOptions } from "./parts/part.ts";

const options: PartOptions = { log: (line) => console.error(`  ${line}`) };

/** What can be asked for, and the steps that get it. */
const parts: Readonly<Record<string, readonly (() => Promise<Found<unknown>>)[]>> = {
  process: [() => findBubblewrap(options)],
  container: [() => image(ensureBaseImage)],
  coder: [() => image(ensureCoderImage)],
  vm: [() => ensureGuest(options)],
  models: [() => ensureChatModel(options), () => ensureEmbeddingModel(options)],
  codex: [() => ensureCodex(options)],
  opencode: [() => ensureOpencode(options)],
};

async function image(ensure: typeof ensureBaseImage): Promise<Found<unknown>> {
  const engine = await runningEngine();
  if (engine !== undefined) return ensure(engine.socketPath, options);
  return missing(
    "no Docker engine answers at DOCKER_HOST or /var/run/docker.sock",
    "install one (Debian: docker.io) and start it",
  );
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(parts, name));
if (asked.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`error: there is no part ${unknown.join(", ")}`);
  console.error(`usage: npm run setup -- [${Object.keys(parts).join("] [")}]`);
  process.exit(2);
}
for (const name of asked) {
  for (const step of parts[name] ?? []) {
    const found = await step();
    console.log(found.ok ? `${name}: ready` : `${name}: ${found.reason}; ${found.remedy}`);
    if (!found.ok) process.exitCode = 1;
  }
}
