/**
 * Memory over many jobs: a backend alone, with runners that claim, log and
 * finish over gRPC without a sandbox. `SOAK_JOBS`: how many, 100,000 by default.
 */
import type { Bench, Row } from "./bench.ts";
import { soakedBackend } from "./soak-backend.ts";

/** Jobs of the whole run; each of the ten counted rounds has a tenth of them. */
const jobs = Number(process.env.SOAK_JOBS ?? 100_000);

/** Memory of the backend after each tenth. */
export const bench: Bench = {
  name: "soak",
  about: "100,000 jobs through one backend: its memory after each tenth of them",
  cases: [
    {
      name: `${jobs} jobs`,
      rounds: 10,
      warmUpRounds: 1,
      floor: "devmesh serve api",
      figure: "jobsPerSecond",
      labels: { store: "sqlite", jobs },
      open: async () => [await soakedBackend(Math.ceil(jobs / 11))],
    },
  ],
  verdicts: ([row]: readonly Row[]) => {
    const grown = Number(row?.rssSlopeMiB);
    const what = `${jobs} jobs: memory grows by ${grown} MiB in 10,000 jobs over the second half, at most 2`;
    return [{ promise: "P8", what, holds: grown <= 2 }];
  },
};
