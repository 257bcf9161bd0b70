/** All attempts, in the order in which they are tried. */
import type { Attempt } from "../attempt.ts";
import { artifactAttempts } from "./artifacts.ts";
import { deviceAttempts } from "./devices.ts";
import { fileAttempts } from "./files.ts";
import { heldAttempts } from "./held.ts";
import { ipcAttempts } from "./ipc.ts";
import { kernelAttempts } from "./kernel.ts";
import { limitAttempts } from "./limits.ts";
import { networkAttempts } from "./network.ts";
import { processAttempts } from "./processes.ts";
import { proxyAttempts } from "./proxy.ts";

/** Every attempt. */
export const attempts: readonly Attempt[] = [
  ...fileAttempts,
  ...deviceAttempts,
  ...processAttempts,
  ...kernelAttempts,
  ...ipcAttempts,
  ...networkAttempts,
  ...proxyAttempts,
  ...artifactAttempts,
  ...limitAttempts,
  ...heldAttempts,
];
