/** The main flow on one process, on four, and on four over Postgres. */
import { expect } from "chai";
import { startPostgres } from "../../scripts/parts/postgres.ts";
import { log, need } from "../parts/need.ts";
import { type FlowStart, mainFlowSuite } from "./main-flow.ts";
import { root } from "./program.ts";
import { startServices } from "./services.ts";
import { startUp } from "./up.ts";

const agentPath = `${root}/agents/coder/dist/coder.mjs`;

mainFlowSuite("one process", async ({ dataDir, env }) => {
  const up = await startUp({ dataDir, env });
  return { ...up, stop: async () => expect(await up.stop()).to.equal(0) && undefined };
});

mainFlowSuite("four processes", startFour, { agent: false });

mainFlowSuite("four processes over Postgres", async (input) => {
  const postgres = need(input.context, await startPostgres({ log }));
  try {
    const four = await startFour({
      ...input,
      env: { ...input.env, STORAGE_URL: postgres.url },
    });
    return {
      ...four,
      stop: () => four.stop().finally(postgres.stop),
    };
  } catch (error) {
    await postgres.stop();
    throw error;
  }
});

async function startFour({ dataDir, env }: FlowStart) {
  const services = await startServices(dataDir, { AGENT_PATH: agentPath, ...env });
  return {
    ...services,
    async stop() {
      const codes = await services.stop();
      expect(codes).to.deep.equal({ vm: 0, api: 0, mcp: 0, inference: 0 });
    },
  };
}
