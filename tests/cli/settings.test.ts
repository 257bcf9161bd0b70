/** `devmesh settings` against a real backend: what is shown, changed, reset and refused. */
import { expect } from "chai";
import { Bed } from "../api/bed.ts";
import { jsonLines, runCli } from "./run-cli.ts";

describe("devmesh settings", function () {
  this.timeout(60_000);
  let bed: Bed;
  let env: Record<string, string>;
  before(async () => {
    bed = await Bed.open({ config: { maxQueuedJobs: 500 } });
    env = { DEVMESH_URL: await bed.url(), DEVMESH_TOKEN: bed.ownerSecret };
  });
  after(() => bed.close());

  const cli = (...args: string[]) => runCli(["settings", ...args], { env });
  const rows = (out: string) =>
    Object.fromEntries(
      out
        .trimEnd()
        .split("\n")
        .slice(1)
        .map((line) => line.trimEnd().split(/\s+/)),
    );

  it("shows what holds, as it is written to change it", async () => {
    const { code, out } = await cli();
    expect(code).to.equal(0);
    expect(rows(out)).to.include({
      log_level: "info",
      token_rate: "0",
      max_queued_jobs: "500",
      log_retention_days: "0",
      "features.infer": "true",
    });
  });

  it("changes several at once, tells them in JSON, and gives them back", async () => {
    const set = await cli(
      "set",
      "log_level=error",
      "token_rate=900:1000",
      "method_rates.JobService.CreateJob=5:10",
      "features.vms=false",
      "log_retention_days=30",
      "--json",
    );
    expect(set.code, set.err).to.equal(0);
    const [document] = jsonLines(set.out);
    expect(document).to.have.nested.property("settings.tokenRate.burst", 1000);
    expect(document).to.have.nested.property("settings.features.vms", false);
    expect(document).to.have.property("version", "1");
    expect(bed.logger.level).to.equal("error");
    const shown = rows((await cli()).out);
    expect(shown["method_rates.JobService.CreateJob"]).to.equal("5:10");
    const reset = await cli("reset", "log_level", "features.vms", "method_rates", "token_rate");
    expect(rows(reset.out)).to.include({
      log_level: "info",
      token_rate: "0",
      "features.vms": "true",
      log_retention_days: "30",
    });
    expect(reset.out).to.not.include("method_rates");
  });

  it("fails for who has not seen the last version, with the code of a conflict", async () => {
    const { code, err } = await cli("set", "log_level=warn", "--version", "77");
    expect(code).to.equal(5);
    expect(err).to.include("WRONG_STATE");
  });

  for (const words of [
    ["set"],
    ["set", "log_level"],
    ["set", "loglevel=debug"],
    ["set", "max_queued_jobs=many"],
    ["set", "token_rate=fast"],
    ["set", "features.infer=maybe"],
    ["set", "features=false"],
    ["set", "log_level=loud"],
    ["set", "features.inferr=false"],
    ["reset"],
    ["reset", "nothing"],
    ["seet", "log_level=warn"],
  ]) {
    it(`refuses ${words.join(" ")}`, async () => {
      const { code, out } = await cli(...words);
      expect({ code, out }).to.deep.equal({ code: 2, out: "" });
    });
  }
});
