/**
 * What the gateway adds to a call: the same upstream asked directly, through
 * the least proxy there is, and through devmesh with everything on. Systems
 * take turns every few calls, so that one round sees one machine.
 */
import { type Bench, type Case, type Figures, percentile, type System } from "./bench.ts";
import { ChatClient } from "./infer-client.ts";
import { type Gateways, openGateways, type SystemName, systemNames } from "./infer-systems.ts";
import { usageOf } from "./process-usage.ts";

/** Calls of one system before the next has its turn. */
const turn = 20;

/** The gateway beside a bare proxy. */
export const bench: Bench = {
  name: "infer",
  about: "what /v1/chat/completions adds to its upstream, beside a bare undici proxy",
  cases: [
    caseOf("whole answers, one client", "addedP50Ms", (gateways) =>
      inTurns(gateways, 1_000, async (client) => ({ ms: await client.whole() })),
    ),
    caseOf("streams, one client", "addedFirstP50Ms", (gateways) =>
      inTurns(gateways, 60, (client) => client.streamed()),
    ),
    caseOf("whole answers, ten clients", "requestsPerS", throughput),
  ],
};

function caseOf(
  name: string,
  figure: string,
  measure: (gateways: Gateways) => Omit<System, "close">[],
): Case {
  return {
    name,
    figure,
    rounds: 5,
    floor: "undici proxy",
    async open() {
      const gateways = await openGateways();
      return measure(gateways).map((system, i) => ({
        ...system,
        close: () => (i === 0 ? gateways.close() : Promise.resolve()),
      }));
    },
  };
}

/** Systems that are measured together: the first one's turn runs the round for all. */
function inTurns(
  { targets }: Gateways,
  calls: number,
  call: (client: ChatClient) => Promise<object>,
): Omit<System, "close">[] {
  const rounds = new Map<number, Promise<Map<SystemName, Figures>>>();
  const measure = async () => {
    const clients = systemNames.map((name) => ({ name, client: new ChatClient(targets[name]) }));
    const taken = new Map(systemNames.map((name) => [name, [] as object[]]));
    for (let done = 0; done < calls; done += turn) {
      for (const { name, client } of clients) {
        for (let i = 0; i < turn; i++) taken.get(name)?.push(await call(client));
      }
    }
    for (const { client } of clients) await client.close();
    return added(new Map([...taken].map(([name, times]) => [name, spread(times)])));
  };
  return systemNames.map((name) => ({
    name,
    async round(round: number) {
      const measured = rounds.get(round) ?? measure();
      rounds.set(round, measured);
      return (await measured).get(name) ?? {};
    },
  }));
}

/** `ms` of each call becomes p50Ms and p99Ms, `firstMs` firstP50Ms and firstP99Ms. */
function spread(times: readonly object[]): Figures {
  const names = Object.keys(times[0] ?? {});
  return Object.fromEntries(
    names.flatMap((name) => {
      const values = times.map((time) => Number((time as Record<string, unknown>)[name]));
      const stem = name === "ms" ? "p" : `${name.slice(0, -2)}P`;
      return [50, 99].map((share) => [`${stem}${share}Ms`, percentile(values, share / 100)]);
    }),
  );
}

/** Beside each figure what it has more than the direct way's of the same round. */
function added(figures: ReadonlyMap<SystemName, Figures>): Map<SystemName, Figures> {
  const direct = figures.get("direct") ?? {};
  return new Map(
    [...figures].map(([name, own]) => {
      const more = Object.entries(own).map(([figure, value]) => [
        `added${figure.slice(0, 1).toUpperCase()}${figure.slice(1)}`,
        value - (direct[figure] ?? Number.NaN),
      ]);
      return [name, { ...own, ...Object.fromEntries(more) }];
    }),
  );
}

function throughput({ targets, pids }: Gateways): Omit<System, "close">[] {
  const calls = 2_000;
  return systemNames.map((name) => ({
    name,
    async round() {
      const clients = Array.from({ length: 10 }, () => new ChatClient(targets[name]));
      const times: number[] = [];
      let left = calls;
      const cpuBeforeMs = usageOf(pids[name]).cpuMs;
      const startedAt = performance.now();
      await Promise.all(
        clients.map(async (client) => {
          while (left > 0) {
            left -= 1;
            times.push(await client.whole());
          }
        }),
      );
      const requestsPerS = calls / ((performance.now() - startedAt) / 1000);
      const cpuUs = ((usageOf(pids[name]).cpuMs - cpuBeforeMs) * 1000) / calls;
      for (const client of clients) await client.close();
      return { requestsPerS, cpuUs, p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) };
    },
  }));
}
