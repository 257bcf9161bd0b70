/** `devmesh jobs artifacts`. */
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { downloadArtifacts } from "@devmesh/sdk/node";
import { ArtifactSchema } from "@devmesh/sdk/raw";
import type { Command } from "../command.ts";
import { outputFolder } from "../output-place.ts";
import { formatBytes, formatTable, inline } from "../table.ts";

/** The command. */
export const command: Command = {
  summary: "Lists what a job left, or downloads it.",
  usage: "jobs artifacts ID [options]",
  options: { out: { value: "DIR", help: "download all into this folder" } },
  run: async ({ args, output, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const { signal } = interrupts;
    const out = args.filled("out");
    if (out !== undefined) await outputFolder("--out", out);
    const job = await devmesh().jobs.get(id, { signal });
    const artifacts = job.result?.artifacts ?? [];
    const saved =
      out === undefined ? [] : await downloadArtifacts(devmesh(), artifacts, out, { signal });
    if (output.json) {
      const rows = artifacts.map((artifact, i): JsonObject => {
        const file = saved[i]?.file;
        const json = toJson(ArtifactSchema, artifact) as JsonObject;
        return file === undefined ? json : { ...json, file };
      });
      await output.document({ artifacts: rows });
      return 0;
    }
    if (artifacts.length === 0) await output.talk("the job left no artifacts");
    else {
      const rows = artifacts.map(({ name, sizeBytes, sha256 }, i) => [
        inline(name, 300),
        formatBytes(sizeBytes),
        saved[i]?.file ?? sha256,
      ]);
      await output.data(
        formatTable(["NAME", "SIZE", out === undefined ? "SHA-256" : "FILE"], rows),
      );
    }
    return 0;
  },
};
