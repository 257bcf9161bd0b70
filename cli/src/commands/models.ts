/** `devmesh models`. */
import { toJson } from "@bufbuild/protobuf";
import { ListModelsResponseSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Lists the models and the providers.",
  usage: "models",
  options: {},
  run: async ({ args, output, paint, interrupts, devmesh }) => {
    args.words();
    const answer = await devmesh().llm.models({ signal: interrupts.signal });
    if (output.json) {
      await output.document(toJson(ListModelsResponseSchema, answer, { alwaysEmitImplicit: true }));
      return 0;
    }
    const models = answer.models.map((model) => [
      inline(`${model.provider}/${model.name}`),
      model.local ? "local" : "cloud",
      inline(model.roles.join(", ")),
      model.contextTokens === 0 ? "" : String(model.contextTokens),
    ]);
    if (models.length === 0) await output.talk("no models");
    else await output.data(formatTable(["MODEL", "WHERE", "ROLES", "WINDOW"], models));
    for (const { name, healthy, detail } of answer.providers) {
      if (!healthy) await output.talk(paint("yellow", `${name} is down: ${inline(detail, 200)}`));
    }
    return 0;
  },
};
