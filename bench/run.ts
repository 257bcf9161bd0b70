/**
 * `node bench/run.ts NAME… [--json]`: runs benches by name; without a name it
 * lists them. `--json`: one line of JSON for each row, nothing else.
 */
import { type Bench, type Row, runCase } from "./bench.ts";

/** Every bench there is; each is loaded when it is asked for. */
const benches: Readonly<Record<string, () => Promise<{ bench: Bench }>>> = {
  rpc: () => import("./rpc.ts"),
  accept: () => import("./accept.ts"),
  infer: () => import("./infer.ts"),
};

const asked = process.argv.slice(2);
const json = asked.includes("--json");
const names = asked.filter((arg) => !arg.startsWith("--"));
const unknown = names.filter((name) => !Object.hasOwn(benches, name));

if (names.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`no such bench: ${unknown.join(", ")}`);
  console.error(`usage: node bench/run.ts NAME… [--json]\n`);
  for (const [name, load] of Object.entries(benches)) {
    console.error(`  ${name.padEnd(16)}${(await load()).bench.about}`);
  }
  process.exit(2);
}

for (const name of names) {
  const { bench } = (await benches[name]?.()) ?? {};
  if (bench === undefined) continue;
  for (const spec of bench.cases) print(await runCase(bench.name, spec));
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
