/** The settings that hold while nothing is set: the environment's. */
import { create } from "@bufbuild/protobuf";
import { type Settings, SettingsSchema } from "@devmesh/gen/devmesh/api/v1/settings_pb";
import type { ApiConfig } from "../config.ts";

/** Every field is there. */
export function settingsOf(config: ApiConfig): Settings {
  const { logLevel, providerPolicy, rateLimit, maxQueuedJobs, logRetentionDays, features } = config;
  return create(SettingsSchema, {
    logLevel,
    providerPolicy,
    tokenRate: rateLimit ?? { perSecond: 0, burst: 0 },
    maxQueuedJobs,
    logRetentionDays,
    features: { ...features },
  });
}
