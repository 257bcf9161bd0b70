/** Every audit store passes one suite. */
import { auditStoreSuite } from "../../services/api/audit/audit-store.suite.ts";
import { type StorePlace, storePlaces } from "./store-places.ts";

for (const [name, open] of Object.entries(storePlaces)) {
  describe(`audit store: ${name}`, () => {
    let place: StorePlace;
    before(async function () {
      place = await open(this);
    });
    after(() => place?.end());
    auditStoreSuite({
      fresh: async () => (await place.fresh()).audit,
      again: async () => (await place.again()).audit,
    });
  });
}
