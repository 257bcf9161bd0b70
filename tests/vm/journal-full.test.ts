/** The journal on a full disk: nothing is made unwritten, all that is there can go, and no line takes another along. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import fc from "fast-check";
import type { SandboxSpec } from "../../services/vm/drivers/driver.ts";
import { suiteSpec } from "../../services/vm/drivers/suite/harness.ts";
import {
  Journal,
  type JournalRecord,
  type JournalState,
  parseJournal,
} from "../../services/vm/sandboxes/journal.ts";
import { JournalledDriver } from "../../services/vm/sandboxes/journalled-driver.ts";
import { TestDriver } from "./test-driver.ts";

const pageBytes = 4096;
const states = ["making", "made", "removing", "gone"] as const;

function lineOf(id: string, state: JournalState): string {
  const record: JournalRecord = { kind: "sandbox", id, driver: "x", jobId: "j", state, atMs: 1 };
  return `${JSON.stringify(record)}\n`;
}

describe("a journal whose lines were cut off", () => {
  const record = fc.record({
    id: fc.integer({ min: 0, max: 5 }).map((n) => `sbx_${n}`),
    state: fc.constantFrom(...states),
  });

  it("loses what was cut off and nothing else, wherever that was", () => {
    const lists = fc.tuple(fc.array(record), record, fc.nat(), fc.boolean(), fc.array(record));
    fc.assert(
      fc.property(lists, ([before, torn, at, isEnded, after]) => {
        const text = (list: typeof before) =>
          list.map(({ id, state }) => lineOf(id, state)).join("");
        const whole = lineOf(torn.id, torn.state);
        // Without its last brace at least.
        const cut = whole.slice(0, at % (whole.length - 2));
        const head = `{"owner":"1/2/boot/pid:[3]"}\n`;
        const seen = parseJournal(
          `${head}${text(before)}${cut}${isEnded ? "\n" : ""}${text(after)}`,
        );
        const wanted = parseJournal(`${head}${text(before)}${text(after)}`);
        expect(seen).to.deep.equal(wanted);
      }),
    );
  });
});

describe("a journal on a full disk", function () {
  this.timeout(60_000);
  let folder: string;
  let journal: Journal;
  let inner: TestDriver;
  let driver: JournalledDriver;

  before(function () {
    if (process.platform === "linux" && process.getuid?.() === 0) return;
    console.log("      skipped: only root mounts a small file system");
    this.skip();
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "devmesh-full-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", folder]);
    journal = await Journal.begin(folder);
    inner = new TestDriver();
    driver = new JournalledDriver(inner, journal);
  });
  afterEach(async () => {
    await journal.close();
    execFileSync("umount", [folder]);
    rmSync(folder, { recursive: true });
  });

  const path = () => join(folder, readdirSync(folder).find((n) => n.endsWith(".jsonl")) ?? "");
  const fill = () => {
    const block = Buffer.alloc(pageBytes);
    try {
      for (;;) appendFileSync(join(folder, "filler"), block);
    } catch (error) {
      expect(error).to.have.property("code", "ENOSPC");
    }
  };
  const empty = () => rmSync(join(folder, "filler"));
  const open = () => parseJournal(readFileSync(path(), "utf8")).open;
  /** A spec whose first line leaves `left` bytes of the journal's last page. */
  const specThatLeaves = (left: number): SandboxSpec => {
    const spec = { ...suiteSpec(), jobId: "" };
    const { id, jobId } = spec;
    const record = {
      kind: "sandbox",
      id,
      jobId,
      driver: "test",
      state: "making",
      atMs: Date.now(),
    };
    const used = statSync(path()).size + JSON.stringify(record).length + 1;
    return { ...spec, jobId: "j".repeat((2 * pageBytes - left - used) % pageBytes) };
  };
  const reasonOf = async (call: Promise<unknown>) => {
    try {
      await call;
      return "none";
    } catch (error) {
      return error instanceof DevmeshError ? `${error.reason} ${error.message}` : String(error);
    }
  };

  it("lets sandboxes go that are there", async () => {
    const sandbox = await driver.create(specThatLeaves(150));
    fill();
    await sandbox.delete();
    expect([driver.list(), inner.list()]).to.deep.equal([[], []]);
    expect([...journal.open.keys()]).to.deep.equal([]);
  });

  it("makes nothing that it could not write down", async () => {
    const pad = pageBytes - (statSync(path()).size % pageBytes) - 20;
    appendFileSync(path(), `${" ".repeat(pad - 1)}\n`);
    fill();
    const asked: string[] = [];
    inner.on("create", async ({ id }) => void asked.push(id));
    const why = await reasonOf(driver.create(suiteSpec()));
    expect(why).to.match(/^SANDBOX_FAILED the journal of sandboxes cannot be written: ENOSPC/);
    expect(asked).to.deep.equal([]);
    expect([...journal.open.keys()]).to.deep.equal([]);
  });

  it("removes at once what was made when its disk had become full, and keeps its name", async () => {
    inner.on("create", async () => fill());
    const spec = specThatLeaves(20);
    const why = await reasonOf(driver.create(spec));
    expect(why).to.match(/^SANDBOX_FAILED the journal of sandboxes cannot be written: ENOSPC/);
    expect([driver.list(), inner.list()]).to.deep.equal([[], []]);
    // A process that comes after this one looks for it.
    expect(open().map(({ id, state }) => [id, state])).to.deep.equal([[spec.id, "making"]]);
  });

  it("lists as to be removed what it could not remove then, and removes it later", async () => {
    inner.on("create", async () => fill());
    inner.on("delete", () => Promise.reject(new Error("busy")));
    const spec = specThatLeaves(20);
    await reasonOf(driver.create(spec));
    expect(driver.list().map(({ id, state }) => [id, state])).to.deep.equal([
      [spec.id, "removing"],
    ]);
    expect([...journal.open.keys()]).to.deep.equal([spec.id]);
    inner.on("delete", async () => {});
    empty();
    await driver.list()[0]?.delete();
    expect([driver.list(), open()]).to.deep.equal([[], []]);
  });

  it("writes whole lines again once there is room, behind one that was cut off", async () => {
    inner.on("create", async () => fill());
    await reasonOf(driver.create(specThatLeaves(20)));
    expect(readFileSync(path(), "utf8")).to.not.match(/\n$/);
    empty();
    inner.on("create", async () => {});
    const second = await driver.create(suiteSpec());
    expect(open().map(({ id, state }) => [id, state])).to.deep.include([second.id, "made"]);
    await second.delete();
    expect(open().map(({ id }) => id)).to.not.include(second.id);
  });

  it("leaves no draft where it has no room to be written anew", async () => {
    const record = (id: string, state: JournalState) =>
      ({ kind: "sandbox", id, driver: "x", jobId: "j", state, atMs: 1 }) as const;
    for (let n = 0; n < 500; n++) await journal.done(record(`sbx_${n}`, "gone"));
    writeFileSync(join(folder, "filler"), "");
    fill();
    for (let n = 0; n < 40; n++) await journal.done(record("sbx_x", "gone")).catch(() => {});
    expect(readdirSync(folder).filter((name) => name.endsWith(".new"))).to.deep.equal([]);
    empty();
    await journal.done(record("sbx_x", "gone"));
    expect(statSync(path()).size).to.be.lessThan(pageBytes);
  });
});
