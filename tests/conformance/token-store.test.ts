/** Every token store passes one suite. */
import { tokenStoreSuite } from "../../services/api/tokens/token-store.suite.ts";
import { type StorePlace, storePlaces } from "./store-places.ts";

for (const [name, open] of Object.entries(storePlaces)) {
  describe(`token store: ${name}`, () => {
    let place: StorePlace;
    before(async function () {
      place = await open(this);
    });
    after(() => place?.end());
    tokenStoreSuite({ fresh: async () => (await place.fresh()).tokens });
  });
}
