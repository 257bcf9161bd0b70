/** How settings are merged: what was set over the environment's values, a change over what was set. */
import { create } from "@bufbuild/protobuf";
import { type Settings, SettingsSchema } from "@devmesh/gen/devmesh/api/v1/settings_pb";
import { invalidField } from "@devmesh/mesh/errors";

/** A change as it is asked for. */
export interface SettingsChange {
  /** What shall hold from now on; absent fields stay as they are. */
  readonly settings: Settings;
  /** Fields, or entries of a map, that go back to the environment's value. */
  readonly reset: readonly string[];
}

/** Names that entries of maps may have. */
export interface KnownNames {
  /** `<Service>.<Method>`. */
  readonly methods: ReadonlySet<string>;
  readonly features: ReadonlySet<string>;
}

/** The settings that hold: `set` over `defaults`. Every field is there. */
export function effective(defaults: Settings, set: Settings): Settings {
  return create(SettingsSchema, {
    ...defaults,
    ...present(set),
    methodRates: { ...defaults.methodRates, ...set.methodRates },
    features: { ...defaults.features, ...set.features },
  });
}

/** What is set after a change. Throws INVALID_FIELD for a name that means nothing here. */
export function changed(set: Settings, change: SettingsChange, known: KnownNames): Settings {
  const next = create(SettingsSchema, set);
  next.methodRates = { ...set.methodRates };
  next.features = { ...set.features };
  for (const name of change.reset) reset(next, name);
  const { settings } = change;
  Object.assign(next, present(settings));
  for (const [name, rate] of Object.entries(settings.methodRates)) {
    requireKnown("settings.methodRates", name, known.methods);
    if (rate.perSecond === 0) delete next.methodRates[name];
    else next.methodRates[name] = rate;
  }
  for (const [name, on] of Object.entries(settings.features)) {
    requireKnown("settings.features", name, known.features);
    next.features[name] = on;
  }
  return next;
}

/** The names of what a change touches, for the audit. */
export function touched({ settings, reset }: SettingsChange): string[] {
  const fields = Object.keys(present(settings)).map(snake);
  const methods = Object.keys(settings.methodRates).map((name) => `method_rates.${name}`);
  const features = Object.keys(settings.features).map((name) => `features.${name}`);
  return [...new Set([...fields, ...methods, ...features, ...reset])];
}

/** The fields that are no maps, where they are there. */
function present(settings: Settings): Partial<Settings> {
  const { logLevel, providerPolicy, tokenRate, maxQueuedJobs, logRetentionDays } = settings;
  return {
    ...(logLevel !== undefined && { logLevel }),
    ...(providerPolicy !== undefined && { providerPolicy }),
    ...(tokenRate !== undefined && { tokenRate }),
    ...(maxQueuedJobs !== undefined && { maxQueuedJobs }),
    ...(logRetentionDays !== undefined && { logRetentionDays }),
  };
}

/** `log_level` and `logLevel` name a field, `features.infer` an entry of a map. */
function reset(settings: Settings, name: string): void {
  const dot = name.indexOf(".");
  const head = dot < 0 ? name : name.slice(0, dot);
  const field = SettingsSchema.fields.find((f) => f.name === head || f.jsonName === head);
  if (field === undefined || (dot >= 0 && field.fieldKind !== "map")) {
    const names = SettingsSchema.fields.map((f) => f.name).join(", ");
    throw invalidField("reset", `there is no setting ${JSON.stringify(name)}; there are ${names}`);
  }
  switch (field.localName) {
    case "methodRates":
      if (dot < 0) settings.methodRates = {};
      else delete settings.methodRates[name.slice(dot + 1)];
      return;
    case "features":
      if (dot < 0) settings.features = {};
      else delete settings.features[name.slice(dot + 1)];
      return;
    default:
      delete (settings as unknown as Record<string, unknown>)[field.localName];
  }
}

function requireKnown(field: string, name: string, known: ReadonlySet<string>): void {
  if (known.has(name)) return;
  const names = known.size > 20 ? "" : `; there are ${[...known].join(", ")}`;
  throw invalidField(field, `there is no ${JSON.stringify(name)}${names}`);
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
