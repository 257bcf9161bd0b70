/** Labels of runners: the CLI and the host take what the contract takes, no more and no less. */
import { type DescMessage, getOption } from "@bufbuild/protobuf";
import { field } from "@devmesh/gen/buf/validate/validate_pb";
import { AgentSchema } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { JobSpecSchema } from "@devmesh/gen/devmesh/api/v1/job_pb";
import { expect } from "chai";
import * as cli from "../../cli/src/runner-labels.ts";
import * as host from "../../services/vm/config.ts";

/** What the contract says of a field of labels. */
function boundsOf(message: DescMessage, name: string) {
  const found = message.fields.find((one) => one.name === name);
  if (found === undefined) throw new Error(`${message.name} has no field ${name}`);
  const rules = getOption(found, field);
  if (rules.type.case !== "map") throw new Error(`${name} is no map with bounds`);
  const { keys, values, maxPairs } = rules.type.value;
  return { key: patternOf(keys?.type), value: patternOf(values?.type), maxPairs: Number(maxPairs) };
}

/** The pattern of a text without its anchors, its groups as JavaScript does not number them. */
function patternOf(rules: { case: string | undefined; value?: unknown } | undefined): string {
  const { value } = rules ?? {};
  const isText = rules?.case === "string" && typeof value === "object" && value !== null;
  if (!isText || !("pattern" in value) || typeof value.pattern !== "string") {
    throw new Error("it has no pattern");
  }
  expect(value.pattern).to.match(/^\^.+\$$/);
  return value.pattern.slice(1, -1).replaceAll("(", "(?:");
}

const contracts = [
  ["a job's runner_labels", boundsOf(JobSpecSchema, "runner_labels")],
  ["an agent's labels", boundsOf(AgentSchema, "labels")],
] as const;
const programs = [
  ["the CLI", cli],
  ["the host", host],
] as const;

describe("label patterns", () => {
  for (const [contract, { key, value, maxPairs }] of contracts) {
    for (const [program, { labelPattern, maxLabels }] of programs) {
      it(`of ${program} are those of ${contract}`, () => {
        expect(labelPattern.source.replaceAll("\\/", "/")).to.equal(`^(${key})=(${value})$`);
        expect(labelPattern.flags).to.equal("");
        expect(maxLabels).to.equal(maxPairs);
      });
    }
  }
});
