/** Providers and models from the domain to the wire. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ListModelsResponseSchema } from "@devmesh/gen/devmesh/inference/v1/model_service_pb";
import type { ModelPrice, Prices } from "../routing/prices.ts";
import type { ProviderStatus } from "../routing/registry.ts";

/** The models and providers as they travel; the order stays. */
export function fromStatus(
  all: readonly ProviderStatus[],
  prices: Prices,
): MessageInitShape<typeof ListModelsResponseSchema> {
  return {
    models: all.flatMap(({ provider, models }) =>
      models.map(({ roles, ...model }) => {
        const price = prices.of(provider, model.name);
        return {
          ...model,
          roles: [...roles],
          provider: provider.name,
          local: provider.local,
          ...(price && { price: toPrice(price) }),
        };
      }),
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

function toPrice({ inputMicros, outputMicros }: ModelPrice) {
  return { inputMicros: BigInt(inputMicros), outputMicros: BigInt(outputMicros) };
}
