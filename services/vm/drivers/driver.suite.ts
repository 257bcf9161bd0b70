/**
 * Holds every SandboxDriver to the port's contract. One call per driver; the
 * tests themselves lie in `suite/` by subject.
 */

import { doorTests } from "./suite/doors-tests.ts";
import { fileTests } from "./suite/file-tests.ts";
import { freezeTests } from "./suite/freeze-tests.ts";
import type { SuiteContext, SuiteSubject, SuiteTraits } from "./suite/harness.ts";
import { isolationTests } from "./suite/isolation-tests.ts";
import { lifecycleTests } from "./suite/lifecycle-tests.ts";
import { limitTests } from "./suite/limit-tests.ts";
import { misbehaviourTests } from "./suite/misbehaviour-tests.ts";
import { processTests } from "./suite/process-tests.ts";
import { receiptTests } from "./suite/receipt-tests.ts";

export type { SuiteSubject, SuiteTrait, SuiteTraits } from "./suite/harness.ts";
export { fakePrograms } from "./suite/programs.ts";

/**
 * Defines the suite for one driver. `make` is called once, in `before`; where it
 * answers `skip` the whole suite is skipped and its title says why. `traits`
 * names what the driver cannot be held to, and why. The drivers' start time
 * decides `timeoutMs`, the bound of one test; default: 60 s.
 */
export function sandboxDriverSuite(
  name: string,
  make: () => Promise<SuiteSubject | { readonly skip: string }>,
  traits: SuiteTraits = {},
  timeoutMs = 60_000,
): void {
  describe(`sandbox driver: ${name}`, function () {
    this.timeout(timeoutMs);
    let made: SuiteSubject | undefined;

    const context: SuiteContext = {
      subject() {
        if (made === undefined) throw new Error("there is no driver before the suite has begun");
        return made;
      },
      traits,
    };

    before(async function () {
      const answer = await make();
      if ("skip" in answer) {
        if (this.test?.parent) this.test.parent.title += ` (skipped: ${answer.skip})`;
        return this.skip();
      }
      made = answer;
    });

    afterEach(async () => {
      if (made !== undefined)
        await Promise.all(made.driver.list().map((sandbox) => sandbox.delete()));
    });

    after(async () => {
      await made?.driver.close?.();
      await made?.cleanup();
    });

    fileTests(context);
    processTests(context);
    lifecycleTests(context);
    limitTests(context);
    isolationTests(context);
    doorTests(context);
    receiptTests(context);
    freezeTests(context);
    misbehaviourTests(context);
  });
}
