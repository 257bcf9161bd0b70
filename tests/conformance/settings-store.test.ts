/** Every settings store passes one suite. */
import { settingsStoreSuite } from "../../services/api/settings/settings-store.suite.ts";
import { type StorePlace, storePlaces } from "./store-places.ts";

for (const [name, open] of Object.entries(storePlaces)) {
  describe(`settings store: ${name}`, () => {
    let place: StorePlace;
    before(async function () {
      place = await open(this);
    });
    after(() => place?.end());
    settingsStoreSuite({
      fresh: async () => (await place.fresh()).settings,
      again: async () => (await place.again()).settings,
    });
  });
}
