export { type Env, EnvReader } from "./env-reader.ts";
export { readServingConfig, type ServingConfig } from "./serving-config.ts";
