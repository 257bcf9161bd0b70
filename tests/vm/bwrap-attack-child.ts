/** The attempts to keep more than the caps give, on an ordinary user's sandboxes; says how each ended as one line of JSON. */
import { heldAttempts } from "../../attack/attempts/held.ts";
import { driverTarget } from "../../attack/driver-target.ts";
import { attackTarget } from "../../attack/suite.ts";
import { World } from "../../attack/world.ts";
import { ProcessDriver } from "../../services/vm/drivers/process/process-driver.ts";

const [, , stateDir = ""] = process.argv;
const only = process.argv.slice(3);
const driver = new ProcessDriver({ stateDir });
const world = await World.make();
try {
  const chosen = heldAttempts.filter(({ name }) => only.length === 0 || only.includes(name));
  const { results } = await attackTarget(driverTarget(driver, ""), chosen, world);
  console.log(JSON.stringify({ results }));
} finally {
  await world.close();
  await driver.close();
}
process.exit(0);
