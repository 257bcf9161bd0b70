export { type Env, EnvReader } from "./env-reader.ts";
