/**
 * The embedded platform as its user meets it: from `up` to the first green job,
 * from an accepted job to a running one, and what it costs while it is idle.
 */

import { bareBubblewrap, bareNode, firstGreenJob } from "./accept-first-job.ts";
import { bareIdleNode, idlePlatform } from "./accept-idle.ts";
import { bareSqlite, jobsOneByOne } from "./accept-jobs.ts";
import type { Bench } from "./bench.ts";

/** Acceptance, idle cost and cold start of `devmesh up`. */
export const bench: Bench = {
  name: "accept",
  about: "devmesh up: accepted to running, whole jobs, idle cost, cold start to a green job",
  cases: [
    {
      // The whole job's floor is bubblewrap's, the start's floor is SQLite's.
      name: "100 jobs of `true`, one by one",
      rounds: 3,
      floor: "bare SQLite insert and claim",
      figure: "runningP50Ms",
      open: async () => [bareSqlite(100), bareBubblewrap(100), await jobsOneByOne(100)],
    },
    {
      name: "cold start to the first green job",
      rounds: 3,
      floor: "bare node -e 0",
      figure: "ms",
      open: async () => [bareNode(), bareBubblewrap(1), firstGreenJob()],
    },
    {
      // The first counted window begins when each has been up for 60 s and more.
      name: "idle, windows of 20 s",
      rounds: 3,
      floor: "bare node",
      figure: "rssMiB",
      open: async () => [
        await bareIdleNode(),
        await idlePlatform("devmesh up", { embed: false }),
        await idlePlatform("devmesh up, embedding model loaded", { embed: true }),
      ],
    },
  ],
};
