/** Tries every attempt on a target, in as few sandboxes as they allow. */
import { type Attempt, type AttemptResult, tryAttempt } from "./attempt.ts";
import type { Room, Target } from "./target.ts";
import type { World } from "./world.ts";

/** How one target came through. */
export interface TargetReport {
  readonly name: string;
  readonly isolation: string;
  readonly engine: string;
  readonly results: readonly AttemptResult[];
}

/** Tries them one after the other. A sandbox that broke under one is replaced for the next. */
export async function attackTarget(
  target: Target,
  attempts: readonly Attempt[],
  world: World,
  onResult: (result: AttemptResult) => void = () => {},
): Promise<TargetReport> {
  const results: AttemptResult[] = [];
  let shared: { readonly room: Room; readonly hasWay: boolean } | undefined;
  const drop = async () => {
    const room = shared?.room;
    shared = undefined;
    await room?.close();
  };
  const roomFor = async ({ fresh = false, hasWay = false }: Attempt) => {
    if (!fresh && shared?.hasWay === hasWay) return shared.room;
    if (!fresh) await drop();
    const room = await target.open(hasWay ? world.way : undefined);
    if (!fresh) shared = { room, hasWay };
    return room;
  };
  try {
    for (const attempt of attempts) {
      const room = await roomFor(attempt);
      let result: AttemptResult;
      try {
        result = await tryAttempt(attempt, room, world);
      } finally {
        if (attempt.fresh === true) await room.close();
      }
      if (result.state !== "held" && attempt.fresh !== true) await drop();
      results.push(result);
      onResult(result);
    }
  } finally {
    await drop();
  }
  const { name, isolation, engine } = target;
  return { name, isolation, engine, results };
}
