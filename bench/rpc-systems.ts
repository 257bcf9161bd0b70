/** Opens one system of the RPC bench: a server process, and a client process that it calls from. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Figures } from "./bench.ts";
import type { Round, SystemName } from "./rpc-contract.ts";

/** A system that is up. */
export interface Caller {
  run(round: Round): Promise<Figures>;
  close(): Promise<void>;
}

/** Starts both processes; `in-process` needs the client's only. */
export async function openCaller(name: SystemName): Promise<Caller> {
  const server = name === "in-process" ? undefined : start("rpc-server.ts", [name]);
  const port = server === undefined ? 0 : Number(await answer(server));
  const client = start("rpc-client.ts", [name, String(port)]);
  await answer(client);
  return {
    async run(round) {
      const before = await cpuUs([client, server]);
      client.send(round);
      const figures = (await answer(client)) as Figures;
      const spentUs = (await cpuUs([client, server])) - before;
      return {
        ...figures,
        cpuUs: spentUs / (round.kind === "unary" ? round.calls : round.messages),
      };
    },
    async close() {
      for (const child of [client, server]) {
        if (child === undefined) continue;
        const ended = once(child, "exit");
        child.disconnect();
        await ended;
      }
    },
  };
}

function start(file: string, args: readonly string[]): ChildProcess {
  // BENCH_PROFILE: a folder that gets one CPU profile of each process.
  const folder = process.env.BENCH_PROFILE;
  const execArgv =
    folder === undefined
      ? []
      : [
          "--cpu-prof",
          `--cpu-prof-name=${args[0]?.replaceAll(" ", "-")}-${file}.cpuprofile`,
          `--cpu-prof-dir=${folder}`,
        ];
  return fork(new URL(file, import.meta.url).pathname, args, { execArgv });
}

/** Processor time that the processes have used so far, in microseconds. */
async function cpuUs(children: readonly (ChildProcess | undefined)[]): Promise<number> {
  let sum = 0;
  for (const child of children) {
    if (child === undefined) continue;
    child.send("cpu");
    sum += Number(await answer(child));
  }
  return sum;
}

/** The child's next message; a child that ends instead is a failure. */
function answer(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the child ended with ${code}`));
    child.once("exit", onExit);
    child.once("message", (message) => {
      child.removeListener("exit", onExit);
      resolve(message);
    });
  });
}
