/** Every job store passes one suite. What only one dialect can show is tested in `job-store-*.test.ts`. */
import { jobStoreSuite } from "../../services/api/jobs/job-store.suite.ts";
import { type StorePlace, storePlaces } from "./store-places.ts";

/** A run of the model costs more where it crosses a wire. */
const modelRuns: Record<string, number> = { memory: 300, sqlite: 150, postgres: 40 };

for (const [name, open] of Object.entries(storePlaces)) {
  describe(`job store: ${name}`, () => {
    let place: StorePlace;
    before(async function () {
      place = await open(this);
    });
    after(() => place?.end());
    jobStoreSuite(
      {
        fresh: async () => {
          place.random.value = 0;
          return (await place.fresh()).jobs;
        },
        again: async () => (await place.again()).jobs,
        advance: (ms) => place.advance(ms),
        draw: (value) => {
          place.random.value = value;
        },
      },
      { modelRuns: modelRuns[name] ?? 100 },
    );
  });
}
