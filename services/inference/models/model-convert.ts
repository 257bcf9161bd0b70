/** Providers and models from the domain to the wire. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ListModelsResponseSchema } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import type { ProviderStatus } from "../routing/registry.ts";

/** The models and providers as they travel; the order stays. */
export function fromStatus(
  all: readonly ProviderStatus[],
): MessageInitShape<typeof ListModelsResponseSchema> {
  return {
    models: all.flatMap(({ provider, models }) =>
      models.map((model) => ({
        ...model,
        roles: [...model.roles],
        provider: provider.name,
        local: provider.local,
      })),
    ),
    providers: all.map(({ provider, models, healthy, detail }) => ({
      name: provider.name,
      local: provider.local,
      healthy,
      detail,
      models: models.length,
    })),
  };
}
