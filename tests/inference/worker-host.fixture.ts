/** A worker for the tests of the worker host: echoes, hangs, dies, fails, on demand. */

import { serveParent } from "../../services/inference/providers/embedded/worker-loop.ts";
import { modelNotFound } from "../../services/inference/providers/provider-errors.ts";

let served = 0;

serveParent<string, string>(async (request, emit, signal) => {
  served += 1;
  switch (request) {
    case "die":
      process.exit(3);
      break;
    case "fail":
      throw modelNotFound("embedded", "x");
    case "hang":
      emit("hanging");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return;
    case "block":
      emit("blocking");
      await new Promise(() => {});
      return;
    default:
      emit(request);
      emit(String(served));
  }
});
