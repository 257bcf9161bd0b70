/** Mocha's spec report, and a Report (see run.ts) in the file that DEVMESH_TEST_REPORT names. */
const { writeFileSync } = require("node:fs");
const Mocha = require("mocha");

module.exports = class extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const report = { passed: 0, skipped: 0, failures: [] };
    runner.on("pass", () => report.passed++);
    runner.on("pending", () => report.skipped++);
    runner.on("fail", (test, error) => {
      report.failures.push(`${test.fullTitle()} (${test.file})\n${error?.stack ?? error}`);
    });
    runner.once("end", () => {
      const file = process.env.DEVMESH_TEST_REPORT;
      if (file !== undefined) writeFileSync(file, JSON.stringify(report));
    });
  }
};
