/**
 * `node bench/run.ts NAME… [--case TEXT] [--json]`: runs benches by name; without
 * a name it lists them. `--case`: only the cases whose name has TEXT in it, and no
 * verdict. `--json`: one line of JSON for each row, nothing else.
 */
import { parseArgs } from "node:util";
import { type Bench, loadNow, maxQuietLoad, type Row, runCase } from "./bench.ts";

/** Every bench there is; each is loaded when it is asked for. */
const benches: Readonly<Record<string, () => Promise<{ bench: Bench }>>> = {
  rpc: () => import("./rpc.ts"),
  accept: () => import("./accept.ts"),
  infer: () => import("./infer.ts"),
  jobs: () => import("./jobs.ts"),
  logs: () => import("./logs.ts"),
  soak: () => import("./soak.ts"),
  sandbox: () => import("./sandbox.ts"),
};

const {
  positionals: names,
  values: { json = false, case: part = "" },
} = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, case: { type: "string" } },
});
const unknown = names.filter((name) => !Object.hasOwn(benches, name));

if (names.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`no such bench: ${unknown.join(", ")}`);
  console.error(`usage: node bench/run.ts NAME… [--case TEXT] [--json]\n`);
  for (const [name, load] of Object.entries(benches)) {
    console.error(`  ${name.padEnd(16)}${(await load()).bench.about}`);
  }
  process.exit(2);
}

for (const name of names) {
  const { bench } = (await benches[name]?.()) ?? {};
  if (bench === undefined) continue;
  const loadBefore = loadNow();
  const rows: Row[] = [];
  for (const spec of bench.cases.filter(({ name }) => name.includes(part))) {
    const found = await runCase(bench.name, spec);
    print(found);
    rows.push(...found);
  }
  if (part === "") printVerdicts(bench, rows, loadBefore);
}

/** On a machine that had other work to do, a verdict is refused. */
function printVerdicts(bench: Bench, rows: readonly Row[], loadBefore: number): void {
  if (bench.verdicts === undefined) return;
  if (loadBefore > maxQuietLoad) {
    const refused = `no verdict: the load average was ${loadBefore} before the run, above ${maxQuietLoad}`;
    console.log(json ? JSON.stringify({ bench: bench.name, refused, loadBefore }) : refused);
    return;
  }
  for (const verdict of bench.verdicts(rows)) {
    const { promise, what, holds } = verdict;
    const line = { bench: bench.name, ...verdict, loadBefore };
    console.log(json ? JSON.stringify(line) : `${promise} ${holds ? "holds" : "FAILS"}: ${what}`);
    if (!holds) process.exitCode = 1;
  }
}

function print(rows: readonly Row[]): void {
  if (json) {
    for (const row of rows) console.log(JSON.stringify(row));
    return;
  }
  const { bench, case: name, load } = rows[0] ?? {};
  console.log(`\n${bench} / ${name} (load ${load})`);
  console.table(
    Object.fromEntries(
      rows.map(({ system, bench: _bench, case: _case, load: _load, ...figures }) => [
        system,
        figures,
      ]),
    ),
  );
}
