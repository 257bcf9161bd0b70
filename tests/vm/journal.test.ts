/** The journal: what is meant is on the disk before it is done, and a killed process's can be read. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { FakeDriver } from "../../services/vm/drivers/fake.ts";
import { suiteSpec } from "../../services/vm/drivers/suite/harness.ts";
import { Journal, parseJournal } from "../../services/vm/sandboxes/journal.ts";
import { JournalledDriver } from "../../services/vm/sandboxes/journalled-driver.ts";
import { TestDriver } from "./test-driver.ts";

describe("the journal of sandboxes", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "devmesh-journal-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const text = () =>
    readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), "utf8"))
      .join("");

  it("names a sandbox before it is made, and before it is removed", async () => {
    const journal = await Journal.begin(folder);
    const inner = new TestDriver();
    const driver = new JournalledDriver(inner, journal);
    const seen: string[] = [];
    inner.on(
      "create",
      async ({ id }) => void seen.push(`${parseJournal(text()).open[0]?.id === id}`),
    );
    inner.on("delete", async () => void seen.push(parseJournal(text()).open[0]?.state ?? ""));
    const sandbox = await driver.create(suiteSpec());
    expect(driver.list().map(({ state }) => state)).to.deep.equal(["running"]);
    await sandbox.delete();
    expect(seen).to.deep.equal(["true", "removing"]);
    expect(driver.list()).to.deep.equal([]);
    expect(parseJournal(text()).open).to.deep.equal([]);
    await journal.close();
    expect(readdirSync(folder)).to.deep.equal([]);
  });

  it("keeps what could not be removed, and forgets what could not be made", async () => {
    const journal = await Journal.begin(folder);
    const inner = new TestDriver();
    const driver = new JournalledDriver(inner, journal);
    const sandbox = await driver.create(suiteSpec());
    inner.on("delete", () => Promise.reject(new Error("busy")));
    await sandbox.delete().catch(() => {});
    expect(driver.list().map(({ state }) => state)).to.deep.equal(["removing"]);
    inner.on("create", () => Promise.reject(new Error("full")));
    await driver.create(suiteSpec()).catch(() => {});
    const { open } = parseJournal(text());
    expect(open.map(({ id, state }) => [id, state])).to.deep.equal([[sandbox.id, "removing"]]);
    inner.on("delete", async () => {});
    await sandbox.delete();
    await journal.close();
  });

  it("shows a sandbox as frozen while it is", async () => {
    const journal = await Journal.begin(folder);
    const driver = new JournalledDriver(new FakeDriver({ programs: {} }), journal);
    const sandbox = await driver.create(suiteSpec());
    await sandbox.freeze();
    expect(driver.list()[0]?.state).to.equal("frozen");
    await sandbox.resume();
    expect(driver.list()[0]?.state).to.equal("running");
    await sandbox.delete();
    await journal.close();
  });

  it("is read as far as it can be where its end was cut off or damaged", () => {
    const line = (id: string, state: string) =>
      `${JSON.stringify({ kind: "sandbox", id, driver: "x", jobId: "j", state, atMs: 1 })}\n`;
    const whole = `{"owner":"1/2/boot/pid:[3]"}\n${line("sbx_a", "making")}${line("sbx_b", "making")}`;
    const damaged = `${whole}\0\0\xff{"kind":\n[1]\nnull\n{"id":"../../etc","state":"made"}\n${line("sbx_a", "gone")}{"kind":"sandbox","id":"sbx_c","sta`;
    const { owner, open } = parseJournal(damaged);
    expect(owner?.pid).to.equal(1);
    expect(open.map(({ id }) => id)).to.deep.equal(["sbx_b"]);
  });

  it("tells the journals of dead processes from those of living ones", async () => {
    const journal = await Journal.begin(folder);
    const source = `
      import { Journal } from ${JSON.stringify(new URL("../../services/vm/sandboxes/journal.ts", import.meta.url))};
      const journal = await Journal.begin(${JSON.stringify(folder)});
      await journal.intend({ kind: "sandbox", id: "sbx_left", driver: "x", jobId: "j", state: "making", atMs: 1 });
      process.stdout.write("written");
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", source], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    expect(await journal.earlier()).to.deep.equal([]);
    expect([...(await journal.othersOpen())]).to.deep.equal(["sbx_left"]);
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    expect([...(await journal.othersOpen())]).to.deep.equal([]);
    const [earlier] = await journal.earlier();
    expect(earlier?.open.map(({ id }) => id)).to.deep.equal(["sbx_left"]);
    await earlier?.forget();
    expect(await journal.earlier()).to.deep.equal([]);
    await journal.close();
  });

  it("stays small, however many sandboxes come and go", async () => {
    const journal = await Journal.begin(folder);
    const record = (id: string, state: "making" | "gone") =>
      ({ kind: "sandbox", id, driver: "x", jobId: "j", state, atMs: 1 }) as const;
    await journal.intend(record("sbx_stays", "making"));
    for (let n = 0; n < 1200; n++) {
      await Promise.all([
        journal.done(record(`sbx_${n}`, "making")),
        journal.done(record(`sbx_${n}`, "gone")),
      ]);
    }
    expect(text().split("\n").length).to.be.lessThan(1300);
    expect(parseJournal(text()).open.map(({ id }) => id)).to.deep.equal(["sbx_stays"]);
    expect(readdirSync(folder)).to.have.length(1);
    await journal.close();
  });

  it("passes over a file that is no journal", async () => {
    writeFileSync(join(folder, "odd.jsonl"), "");
    appendFileSync(join(folder, "notes.txt"), "x");
    const journal = await Journal.begin(folder);
    const earlier = await journal.earlier();
    expect(earlier.map(({ open }) => open)).to.deep.equal([[]]);
    await journal.close();
  });
});
