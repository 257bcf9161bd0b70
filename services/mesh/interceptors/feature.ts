/** Refuses calls of modules that are switched off. */
import type { Interceptor } from "@connectrpc/connect";
import { DevmeshError } from "../errors/index.ts";
import { accessOf } from "./access.ts";

/** True if the module of this name is on. */
export type Features = (name: string) => boolean;

/** Throws FEATURE_DISABLED for a method whose `feature` is off. */
export function featureInterceptor(features: Features): Interceptor {
  return (next) => (req) => {
    const feature = accessOf(req.method)?.feature ?? "";
    if (feature !== "" && !features(feature)) return Promise.reject(featureDisabled(feature));
    return next(req);
  };
}

/** The refusal of what belongs to a module that is off. */
export function featureDisabled(feature: string): DevmeshError {
  return new DevmeshError(
    "FEATURE_DISABLED",
    `the module ${feature} is switched off: \`devmesh settings set features.${feature}=true\` switches it on`,
    { metadata: { feature } },
  );
}
