/** Mocha's spec report, and the true totals in the file that DEVMESH_TEST_REPORT names. */
const { writeFileSync } = require("node:fs");
const Mocha = require("mocha");

module.exports = class extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const totals = { passed: 0, failed: 0, skipped: 0 };
    runner.on("pass", () => totals.passed++);
    runner.on("fail", () => totals.failed++);
    runner.on("pending", () => totals.skipped++);
    runner.once("end", () => {
      const report = process.env.DEVMESH_TEST_REPORT;
      if (report !== undefined) writeFileSync(report, JSON.stringify(totals));
    });
  }
};
