/** The sandbox of one attempt: its doors, its way out, its making and its removal. What runs in it is left to `work.ts`. */
import type { Logger } from "@devmesh/mesh/log";
import type { ReadOnlyMount, Sandbox, SandboxDoor } from "../drivers/driver.ts";
import { requireReceipt } from "../drivers/receipt-check.ts";
import { type Egress, openEgress } from "../egress/egress.ts";
import { modelPort } from "./agent/foreign-agent.ts";
import type { AttemptInput, Removal } from "./attempt-input.ts";
import { openBackendDoor } from "./backend-door.ts";
import { sandboxLimits } from "./job-limits.ts";
import { receiptNote } from "./sandbox-notes.ts";
import { untilAnswered } from "./until-answered.ts";

/** What the work brings to its sandbox. */
export interface SandboxWants {
  readonly mounts: readonly ReadOnlyMount[];
  /** Who talks to the backend. Absent: nobody, and there is no door to it. */
  readonly agent: "own" | "foreign" | undefined;
}

/** A sandbox that is what was asked for. */
export interface AttemptSandbox {
  readonly sandbox: Sandbox;
  /** Bytes of work dir and scratch. */
  readonly maxBytes: number;
  /** Variables of its way out. */
  readonly env: Readonly<Record<string, string>>;
}

/** Makes it; `cleanup` takes it away, also when this throws. */
export async function makeSandbox(
  input: AttemptInput,
  wants: SandboxWants,
  cleanup: AsyncDisposableStack,
): Promise<AttemptSandbox> {
  const { tools, spec, driver, shipper, jobId, stop } = input;
  const limits = sandboxLimits(spec);
  const mounts = [...wants.mounts];
  const doors: SandboxDoor[] = [];
  if (wants.agent !== undefined) {
    const door = await openBackendDoor(tools.backendUrl);
    cleanup.defer(() => door.close());
    const { socketPath } = door;
    doors.push({
      name: "backend",
      socketPath,
      ...(wants.agent === "foreign" && { port: modelPort }),
    });
  }
  const egress = await openNetwork(input);
  if (egress !== undefined) {
    // The sandbox is gone by then, so that all it tried is told.
    cleanup.defer(() => egress.close().finally(() => input.onEgress(egress.bytes())));
    doors.push(egress.door);
    mounts.push(...egress.mounts);
  }
  const wanted = { id: tools.ids.next("sbx"), jobId, limits, mounts, doors };
  const sandbox = await driver.create(wanted, stop);
  cleanup.defer(async () => input.onRemoved(await removeSandbox(sandbox, tools.logger)));
  const { name, isolation } = driver;
  await shipper.note({
    level: "info",
    topic: "sandbox",
    message: `runs in a ${isolation} sandbox (${name})`,
    payload: { sandbox: sandbox.id, driver: name, isolation, limits },
  });
  await shipper.note(receiptNote(sandbox));
  requireReceipt(wanted, sandbox.receipt);
  return { sandbox, maxBytes: limits.diskMib * 1024 * 1024, env: egress?.env ?? {} };
}

/** The way out that the job's network policy opens; undefined if it opens none. */
async function openNetwork(input: AttemptInput): Promise<Egress | undefined> {
  const { tools, lease, spec, jobId, folder, shipper, fenced: signal } = input;
  const { network: policy } = spec;
  if (policy === undefined || policy.allow.length === 0) return undefined;
  const { backend, clock } = tools;
  const ref = { jobId, epoch: lease.epoch };
  return openEgress({
    host: tools.egress ?? {},
    ...{ policy, jobId, folder, clock },
    report: async (number, decisions) => {
      const request = { lease: ref, number, decisions: [...decisions] };
      const call = () => backend.runners.reportEgress(request, { timeoutMs: 10_000, signal });
      await untilAnswered(call, { clock, signal });
    },
    // Notes that cannot be shipped end the attempt by the shipper's own hand.
    note: (note) => void shipper.note(note).catch(() => {}),
  });
}

/** What became of the work does not hang on this: a sandbox that stays is told, and reaped at the next start. */
async function removeSandbox(sandbox: Sandbox, logger: Logger): Promise<Removal> {
  let isRemoved = true;
  try {
    await sandbox.delete();
  } catch (err) {
    isRemoved = false;
    const { id, driver, jobId } = sandbox;
    logger.error({ sandbox: id, driver, jobId, err }, "a sandbox could not be removed");
  }
  // A driver that cannot count removes all or fails; then one stands for all that is left.
  const processesLeft = (await sandbox.processes?.()) ?? (isRemoved ? 0 : 1);
  return { isRemoved, processesLeft };
}
