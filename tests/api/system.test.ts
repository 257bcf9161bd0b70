/** What runs here: each part answers for itself, and one that is down takes nobody along. */
import { create } from "@bufbuild/protobuf";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SettingsSchema } from "@devmesh/gen/devmesh/api/v1/settings_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { DevmeshError } from "@devmesh/mesh/errors";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { MemoryAgentStore } from "../../services/api/agents/agent-store.memory.ts";
import { Agents } from "../../services/api/agents/agents.ts";
import { SystemServiceImpl } from "../../services/api/system/system-service.ts";
import { Bed } from "./bed.ts";

/** Settings that nobody changes. */
const settings = { current: create(SettingsSchema), version: 0, update: async () => {} };

describe("system", () => {
  it("tells which parts are away, and still answers", async () => {
    const bed = await Bed.open();
    const { parts } = await bed.client(SystemService).getSystem({});
    const states = parts.map(({ name, ok }) => [name, ok]);
    expect(states).to.deep.equal([
      ["storage", true],
      ["audit", true],
      ["mcp", false],
      ["inference", false],
      ["runners", false],
    ]);
    expect(parts.find(({ name }) => name === "runners")?.detail).to.contain("devmesh serve vm");
    await bed.close();
  });

  it("counts the room that runners have", async () => {
    const bed = await Bed.open();
    const runners = bed.client(RunnerService);
    const runner = create(AgentSchema, { id: "run_1", host: "h", version: "0", capacity: 4 });
    await runners.registerRunner({ runner });
    const { parts } = await bed.client(SystemService).getSystem({});
    const part = parts.find(({ name }) => name === "runners");
    expect(part).to.deep.include({ ok: true, detail: "1 alive, room for 4 more jobs" });
    await bed.close();
  });

  it("answers although the store of the runners is away", async () => {
    const clock = new TestClock();
    const store = new MemoryAgentStore({ clock });
    store.list = async () => {
      throw new DevmeshError("UNAVAILABLE", "the store is away");
    };
    const agents = new Agents({ store, clock, leaseTtlMs: 12_000 });
    const parts = [{ name: "storage", check: async () => "fine" }];
    const options = { version: "0", startedAtMs: 0, settings, parts, agents };
    const answer = await new SystemServiceImpl(options).getSystem();
    expect(answer.parts).to.deep.equal([
      { name: "storage", ok: true, detail: "fine" },
      { name: "runners", ok: false, detail: "the store is away" },
    ]);
  });

  it("does not wait for a part that hangs", async () => {
    const clock = new TestClock();
    const agents = new Agents({ store: new MemoryAgentStore({ clock }), clock, leaseTtlMs: 1 });
    const parts = [{ name: "stuck", check: () => new Promise<string>(() => {}) }];
    const options = { version: "0", startedAtMs: 0, settings, parts, agents };
    const answer = await new SystemServiceImpl(options).getSystem();
    expect(answer.parts[0]).to.deep.include({ name: "stuck", ok: false });
  });
});
