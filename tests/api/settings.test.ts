/** What changes without a restart: who sees it when, and what is refused. */
import { create } from "@bufbuild/protobuf";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { SettingsSchema } from "@devmesh/gen/devmesh/api/v1/settings_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { toDevmeshError } from "@devmesh/mesh/errors";
import { createLogger } from "@devmesh/mesh/log";
import { TestClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { HotSettings, pollMs } from "../../services/api/settings/settings.ts";
import { MemorySettingsStore } from "../../services/api/settings/settings-store.memory.ts";
import type { SettingsStore } from "../../services/api/settings/settings-store.ts";
import { settled } from "../settled.ts";
import { Bed, reasonOf } from "./bed.ts";

const known = {
  methods: new Set(["JobService.CreateJob", "JobService.GetJob"]),
  features: new Set(["infer", "context"]),
};
const defaults = create(SettingsSchema, {
  logLevel: "info",
  providerPolicy: "",
  tokenRate: { perSecond: 0 },
  maxQueuedJobs: 1000,
  logRetentionDays: 0,
  features: { infer: true, context: true },
});

/** A replica on a store. */
function replica(store: SettingsStore, clock = new TestClock()) {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({ service: "test", destination });
  return HotSettings.open({ store, defaults, known, clock, logger });
}

const asked = (
  init: Parameters<typeof create<typeof SettingsSchema>>[1],
  reset: string[] = [],
) => ({
  settings: create(SettingsSchema, init),
  reset,
});

describe("hot settings", () => {
  it("are the environment's while nothing is set", async () => {
    const settings = await replica(new MemorySettingsStore());
    expect(settings.current).to.deep.equal(defaults);
    expect(settings.version).to.equal(0);
    expect(settings.maxQueued()).to.equal(1000);
    expect(settings.feature("infer")).to.equal(true);
  });

  it("store only what was set, and hold at once where they were changed", async () => {
    const store = new MemorySettingsStore();
    const settings = await replica(store);
    const seen: (string | undefined)[] = [];
    settings.onChange(({ logLevel }) => seen.push(logLevel));
    await settings.update(asked({ logLevel: "debug", features: { infer: false } }), 0);
    expect(settings.current.logLevel).to.equal("debug");
    expect(settings.feature("infer")).to.equal(false);
    expect(settings.feature("context")).to.equal(true);
    expect(seen).to.deep.equal(["info", "debug"]);
    expect(JSON.parse((await store.read()).value)).to.deep.equal({
      logLevel: "debug",
      features: { infer: false },
    });
  });

  it("keep what a change does not name, and give back what is reset", async () => {
    const settings = await replica(new MemorySettingsStore());
    await settings.update(
      asked({
        maxQueuedJobs: 7,
        logRetentionDays: 3,
        methodRates: { "JobService.CreateJob": { perSecond: 2 } },
        features: { infer: false, context: false },
      }),
      0,
    );
    await settings.update(asked({ logLevel: "warn" }), 0);
    expect(settings.maxQueued()).to.equal(7);
    expect(settings.logRetentionDays()).to.equal(3);
    await settings.update(asked({}, ["max_queued_jobs", "logRetentionDays", "features.infer"]), 0);
    expect(settings.maxQueued()).to.equal(1000);
    expect(settings.logRetentionDays()).to.equal(0);
    expect(settings.feature("infer")).to.equal(true);
    expect(settings.feature("context")).to.equal(false);
    await settings.update(asked({ methodRates: { "JobService.CreateJob": {} } }), 0);
    expect(settings.current.methodRates).to.deep.equal({});
  });

  it("refuse names that mean nothing, and change nothing then", async () => {
    const store = new MemorySettingsStore();
    const settings = await replica(store);
    for (const change of [
      asked({ features: { inferr: false } }),
      asked({ methodRates: { "JobService.Nothing": { perSecond: 1 } } }),
      asked({ logLevel: "warn" }, ["logLevels"]),
      asked({ logLevel: "warn" }, ["log_level.x"]),
    ]) {
      expect(await reasonOf(settings.update(change, 0))).to.equal("INVALID_FIELD");
    }
    expect((await store.read()).version).to.equal(0);
  });

  it("refuse a change of who has not seen the last one", async () => {
    const settings = await replica(new MemorySettingsStore());
    await settings.update(asked({ logLevel: "warn" }), 0);
    await settings.update(asked({ logLevel: "debug" }), 1);
    expect(await reasonOf(settings.update(asked({ logLevel: "error" }), 1))).to.equal(
      "WRONG_STATE",
    );
    expect(settings.current.logLevel).to.equal("debug");
  });

  it("lose no change of two replicas at once", async () => {
    const store = new MemorySettingsStore();
    const [a, b] = [await replica(store), await replica(store)];
    await Promise.all([
      a.update(asked({ logLevel: "warn" }), 0),
      b.update(asked({ maxQueuedJobs: 5 }), 0),
      a.update(asked({ logRetentionDays: 9 }), 0),
    ]);
    expect(JSON.parse((await store.read()).value)).to.deep.equal({
      logLevel: "warn",
      maxQueuedJobs: 5,
      logRetentionDays: 9,
    });
  });

  it("reach another replica within a poll, and survive a store that is away", async () => {
    const clock = new TestClock();
    const store = new MemorySettingsStore();
    const away = new MemorySettingsStore();
    let isAway = false;
    away.read = () => (isAway ? Promise.reject(new Error("away")) : store.read());
    const [a, b] = [await replica(store, clock), await replica(away, clock)];
    b.start();
    await a.update(asked({ logLevel: "warn" }), 0);
    expect(b.current.logLevel).to.equal("info");
    const poll = async () => {
      while (clock.sleeping === 0) await settled(1);
      clock.advance(pollMs);
      while (clock.sleeping === 0) await settled(1);
    };
    isAway = true;
    await poll();
    expect(b.current.logLevel).to.equal("info");
    isAway = false;
    await poll();
    expect(b.current.logLevel).to.equal("warn");
    expect(b.version).to.equal(1);
    await b.close();
    expect(pollMs).to.be.at.most(2_000);
  });
});

describe("settings at the public door", () => {
  let bed: Bed;
  afterEach(() => bed.close());

  it("are told whole, changed by who may, and audited by name", async () => {
    bed = await Bed.open({ config: { maxQueuedJobs: 12 } });
    const system = bed.client(SystemService);
    const before = await system.getSettings({});
    expect(before.version).to.equal(0n);
    expect(before.settings).to.deep.include({ logLevel: "info", maxQueuedJobs: 12 });
    const after = await system.updateSettings({
      settings: { logLevel: "error", features: { context: false } },
      expectedVersion: 0n,
    });
    expect(after.version).to.equal(1n);
    expect((await system.getSystem({})).features).to.include({ context: false, infer: true });
    const { events } = await bed.client(AuditService).listAuditEvents({});
    const row = events.find(({ action }) => action === "settings.update");
    expect(row).to.include({ resource: "log_level,features.context", outcome: "ok" });
    expect(await reasonOf(bed.client(SystemService, "").updateSettings({ settings: {} }))).to.equal(
      "UNAUTHENTICATED",
    );
    expect(
      await reasonOf(system.updateSettings({ settings: { logLevel: "loud" } as never })),
    ).to.equal("INVALID_FIELD");
  });

  it("really change the level of the log", async () => {
    bed = await Bed.open();
    const levels: string[] = [];
    const { logger } = bed;
    const system = bed.client(SystemService);
    await system.updateSettings({ settings: { logLevel: "debug" } });
    levels.push(logger.level);
    await system.updateSettings({ settings: { logLevel: "silent" } });
    levels.push(logger.level);
    expect(levels).to.deep.equal(["debug", "silent"]);
  });

  it("decide where model calls may be answered, whatever their callers say", async () => {
    const modes: string[] = [];
    bed = await Bed.open({
      chat: {
        chat: ({ deploymentMode }) => {
          modes.push(deploymentMode);
          return { message: { role: "assistant", content: "x" } };
        },
      },
    });
    const messages = [{ role: "user", content: "hi" }];
    const ask = async () => {
      await bed.client(InferService).infer({ input: "hi" });
      await bed.client(ChatService).chat({ messages, deploymentMode: "cloud-first" });
    };
    await ask();
    await bed.client(SystemService).updateSettings({ settings: { providerPolicy: "local-only" } });
    await ask();
    await bed.client(SystemService).updateSettings({ settings: {}, reset: ["provider_policy"] });
    await ask();
    expect(modes).to.deep.equal(["", "", "local-only", "local-only", "", ""]);
  });

  it("say in the error what the version is", async () => {
    bed = await Bed.open();
    const system = bed.client(SystemService);
    await system.updateSettings({ settings: { logLevel: "error" } });
    const late = system.updateSettings({ settings: { logLevel: "info" }, expectedVersion: 9n });
    const error = toDevmeshError(await late.catch((e: unknown) => e));
    expect(error.reason).to.equal("WRONG_STATE");
    expect(error.metadata.state).to.equal("1");
  });
});
