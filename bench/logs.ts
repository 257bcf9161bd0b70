/** Logs: into the store, from a loud job to its watcher, and a line's way to one and to 1,000 watchers. */
import { startPostgres } from "../scripts/parts/postgres.ts";
import type { Bench } from "./bench.ts";
import { barePipe, loudJob, watchedJob } from "./logs-live.ts";
import { bareRows, storedLog } from "./logs-store.ts";

/** How quick logs are. */
export const bench: Bench = {
  name: "logs",
  about: "lines a second into the store and through it, line to watcher, 1,000 watchers of one job",
  cases: [
    {
      name: "200,000 lines into the store, 500 at a time",
      rounds: 3,
      floor: "bare SQLite, a row a line",
      figure: "linesPerSecond",
      labels: { store: "sqlite" },
      open: async () => [
        bareRows(),
        await storedLog("sqlite:logs.db", "chunks"),
        await storedLog("sqlite:logs.db", "an event a line"),
      ],
    },
    {
      name: "200,000 lines into the store, 500 at a time, Postgres",
      rounds: 3,
      floor: "bare SQLite, a row a line",
      figure: "linesPerSecond",
      labels: { store: "postgres" },
      async open() {
        const server = await startPostgres({ durable: true });
        if (!server.ok) throw new Error(`${server.reason} (${server.remedy})`);
        const { url, stop } = server.value;
        return [
          bareRows(),
          await storedLog(url, "an event a line"),
          await storedLog(url, "chunks", stop),
        ];
      },
    },
    {
      name: "a job of 1,000,000 lines",
      rounds: 3,
      floor: "devmesh, job to watching client",
      figure: "linesPerSecond",
      labels: { store: "sqlite" },
      open: async () => [await loudJob()],
    },
    {
      name: "a line's way to its watchers",
      rounds: 3,
      floor: "bare pipe",
      figure: "lineP50Ms",
      labels: { store: "sqlite" },
      open: async () => [barePipe(), await watchedJob(1), await watchedJob(1_000)],
    },
  ],
  verdicts: (rows) => {
    const find = (system: string, store: string) =>
      rows.find((row) => row.system === system && row.store === store);
    const lines = (store: string) => Number(find("devmesh, chunks", store)?.linesPerSecond);
    const way = (watchers: number) => find(`devmesh, ${watchers} watching`, "sqlite");
    return [
      ...["sqlite", "postgres"].map((store) => ({
        promise: "P13",
        what: `${store}: ${lines(store)} lines/s to the store, at least 100,000`,
        holds: lines(store) >= 100_000,
      })),
      ...[1, 1_000].map((watchers) => ({
        promise: "P13",
        what: `${watchers} watching: line to watcher p99 ${way(watchers)?.lineP99Ms} ms, below 150; ${way(watchers)?.whole} saw it whole`,
        holds: Number(way(watchers)?.lineP99Ms) < 150 && way(watchers)?.whole === watchers,
      })),
    ];
  },
};
