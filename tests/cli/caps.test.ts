/** The caps of `run` and `agent`: as people write them, and what is refused. */
import { expect } from "chai";
import { parseCpuMillis, parseMib } from "../../cli/src/size.ts";
import { type CliBed, openBed } from "./bed.ts";

describe("devmesh run with caps", function () {
  this.timeout(60_000);
  let bed: CliBed;
  before(async () => {
    bed = await openBed();
  });
  after(() => bed.close());

  it("asks for them", async () => {
    const caps = ["--memory", "64m", "--disk", "1g", "--pids", "50", "--cpus", "0.5"];
    const { code, err } = await bed.cli(["run", ...caps, "--", "exit", "0"]);
    expect(code, err).to.equal(0);
    expect(bed.fake.jobs.all().at(-1)?.spec?.limits).to.deep.include({
      memoryMib: 64,
      diskMib: 1024,
      pids: 50,
      cpuMillis: 500,
    });
  });

  for (const [option, value] of [
    ["--memory", "0"],
    ["--memory", "-1m"],
    ["--memory", "15m"],
    ["--memory", "64"],
    ["--memory", "1000000000000000000m"],
    ["--memory", "1000000000000000000"],
    ["--disk", "0"],
    ["--disk", "3m"],
    ["--disk", "4.5m"],
    ["--disk", "-1"],
    ["--disk", "1e18"],
    ["--pids", "0"],
    ["--pids", "3"],
    ["--pids", "-1"],
    ["--pids", "1000000000000000000"],
    ["--cpus", "0"],
    ["--cpus", "-1"],
    ["--cpus", "-0.5"],
    ["--cpus", "NaN"],
    ["--cpus", "1000000000000000000"],
    ["--cpus", "0.009"],
  ] as const) {
    it(`refuses ${option}=${value} by name`, async () => {
      const { code, err } = await bed.cli(["run", `${option}=${value}`, "--", "exit", "0"]);
      expect(code).to.equal(2);
      expect(err).to.include(option);
    });
  }

  it("reads sizes in every unit", () => {
    const sizes = ["1024k", "64M", "2g", "1.5GiB", "1t"].map((text) =>
      parseMib("--memory", text, 1, 1_048_576),
    );
    expect(sizes).to.deep.equal([1, 64, 2048, 1536, 1_048_576]);
    expect(
      ["0.5", "2", "0.01"].map((text) => parseCpuMillis("--cpus", text, 0.01, 1024)),
    ).to.deep.equal([500, 2000, 10]);
  });
});
