/**
 * Internal calls over the network: bare grpc-js as the floor, the mesh with
 * everything on beside it. Each system's client and server have a process each.
 */
import type { Bench, Case, System } from "./bench.ts";
import type { Round, SystemName } from "./rpc-contract.ts";
import { openCaller } from "./rpc-systems.ts";

const systems: readonly SystemName[] = [
  "bare grpc-js",
  "mesh",
  "mesh, connect engine",
  "connect client, mesh server",
  "connect client, connect engine",
  "in-process",
];

/** Internal RPC of the mesh beside bare grpc-js. */
export const bench: Bench = {
  name: "rpc",
  about: "internal unary calls and streamed messages: bare grpc-js, mesh, Connect",
  cases: [
    caseOf("unary, 16 in flight", "callsPerS", { kind: "unary", calls: 4_000, inFlight: 16 }),
    caseOf("streamed messages", "messagesPerS", { kind: "stream", messages: 40_000 }),
  ],
};

function caseOf(name: string, figure: string, round: Round): Case {
  return { name, figure, rounds: 7, floor: "bare grpc-js", open: () => openAll(round) };
}

async function openAll(round: Round): Promise<System[]> {
  // BENCH_SYSTEMS: names with `;` between them, to look at a few only.
  const wanted = process.env.BENCH_SYSTEMS?.split(";") ?? systems;
  const opened: System[] = [];
  for (const name of systems.filter((each) => wanted.includes(each))) {
    const caller = await openCaller(name);
    opened.push({ name, round: () => caller.run(round), close: () => caller.close() });
  }
  return opened;
}
