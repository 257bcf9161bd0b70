/** Small services for tests of the runtime. */
import { create } from "@bufbuild/protobuf";
import { createContextValues, type ServiceImpl } from "@connectrpc/connect";
import type { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { SandboxService } from "@devmesh/gen/devmesh/vm/v1/sandbox_service_pb";
import { DevmeshError, notFound } from "@devmesh/mesh/errors";

/** A request to delete the sandbox `sbx_1`, but for its signal. */
export const idRequest = {
  stream: false,
  service: SandboxService,
  method: SandboxService.method.deleteSandbox,
  requestMethod: "POST",
  url: "/devmesh.vm.v1.SandboxService/DeleteSandbox",
  header: new Headers(),
  get contextValues() {
    return createContextValues();
  },
  message: create(SandboxService.method.deleteSandbox.input, { id: "sbx_1" }),
} as const;

/** `sbx_1` exists. */
export function fakeSandboxes(): ServiceImpl<typeof SandboxService> {
  return {
    probeHost: () => ({ host: "here" }),
    listSandboxes: () => ({ sandboxes: [{ id: "sbx_1", driver: "fake" }] }),
    deleteSandbox({ id }) {
      if (id !== "sbx_1") throw notFound("sandbox", id);
      return {};
    },
  };
}

/** `three` has three events, `breaks` fails after one. Only `WatchJob` is there. */
export function fakeJobs(): ServiceImpl<typeof JobService> {
  const jobs: Partial<ServiceImpl<typeof JobService>> = {
    async *watchJob({ id }) {
      for (let seq = 1; seq <= 3; seq++) {
        yield { step: { case: "event", value: { seq } } };
        if (id === "breaks") throw new DevmeshError("WRONG_STATE", "it breaks here");
      }
    },
  };
  return jobs as ServiceImpl<typeof JobService>;
}
