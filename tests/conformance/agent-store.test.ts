/** Every agent store passes one suite. */
import { agentStoreSuite } from "../../services/api/agents/agent-store.suite.ts";
import { type StorePlace, storePlaces } from "./store-places.ts";

for (const [name, open] of Object.entries(storePlaces)) {
  describe(`agent store: ${name}`, () => {
    let place: StorePlace;
    before(async function () {
      place = await open(this);
    });
    after(() => place?.end());
    agentStoreSuite({ fresh: async () => (await place.fresh()).agents, tick: () => place.tick() });
  });
}
