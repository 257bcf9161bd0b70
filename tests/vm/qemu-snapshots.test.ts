/** Snapshots without a guest: made once, checked, bounded, never used when they are not whole. */
import { execFile } from "node:child_process";
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { DevmeshError } from "@devmesh/mesh/errors";
import { expect } from "chai";
import { keyOf, type SnapshotShape } from "../../services/vm/drivers/qemu/snapshot-shape.ts";
import {
  type MadeTemplate,
  type Snapshot,
  SnapshotStore,
  type TemplateFiles,
} from "../../services/vm/drivers/qemu/snapshot-store.ts";

const run = promisify(execFile);
const mib = 1 << 20;
const facts = { status: "", mountinfo: "", netDev: "", namespaces: "" };

function shape(name: string): SnapshotShape {
  return {
    form: 2,
    qemu: name,
    accelerator: "tcg",
    host: "test",
    bootDigest: "",
    cpus: 1,
    memoryMib: 8,
    diskMib: 4,
    disks: [],
  };
}

describe("snapshots", () => {
  let folder: string;
  let made: number;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "devmesh-snapshots-"));
    made = 0;
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** Leaves a memory with two islands, a state and a scratch disk. */
  const make = async ({ memory, state }: TemplateFiles): Promise<MadeTemplate> => {
    made++;
    await memory.write(Buffer.from("low memory"), 0, 10, 5000);
    await memory.write(Buffer.from("high memory"), 0, 11, 7 * mib);
    await state.write("the state");
    const scratchPath = join(folder, `scratch-${made}`);
    await writeFile(scratchPath, Buffer.alloc(4 * mib));
    const scratch = await open(scratchPath, "r+");
    await scratch.write(Buffer.from("superblock"), 0, 10, 1024);
    await scratch.close();
    return { facts, scratchPath, remove: () => rm(scratchPath) };
  };

  const store = (more = {}) => new SnapshotStore({ folder: join(folder, "s"), ...more });

  const contents = async (snapshot: Snapshot) => {
    const memory = await snapshot.openMemory(folder);
    const state = await snapshot.openState();
    const scratch = await open(join(folder, "disk"), "w+");
    try {
      await snapshot.writeScratch(scratch);
      const at = async (file: typeof memory, offset: number, bytes: number) =>
        (await file.read(Buffer.alloc(bytes), 0, bytes, offset)).buffer.toString();
      return [
        (await memory.stat()).size,
        await at(memory, 5000, 10),
        await at(memory, 7 * mib, 11),
        (await state.readFile()).toString(),
        (await scratch.stat()).size,
        await at(scratch, 1024, 10),
      ];
    } finally {
      await Promise.all([memory, state, scratch].map((file) => file.close()));
    }
  };
  const whole = [8 * mib, "low memory", "high memory", "the state", 4 * mib, "superblock"];

  const use = (from: SnapshotStore, of = shape("a")) => from.with(of, make, undefined, contents);

  for (const sealed of [true, false]) {
    const how = sealed ? "in sealed memory" : "as copies";
    it(`gives back what was saved, ${how}, also to the next process`, async () => {
      const first = store({ sealed });
      expect(await use(first)).to.deep.equal(whole);
      expect(await use(first)).to.deep.equal(whole);
      await first.close();
      const second = store({ sealed });
      expect(await use(second)).to.deep.equal(whole);
      await second.close();
      expect(made).to.equal(1);
    });
  }

  it("lets nobody write to the memory that guests share", async function () {
    if (process.platform !== "linux") return this.skip();
    const from = store();
    await from.with(shape("a"), make, undefined, async (snapshot) => {
      const memory = await snapshot.openMemory(folder);
      const failure = await memory.write("x").then(
        () => "written",
        (error: NodeJS.ErrnoException) => error.code,
      );
      await memory.close();
      expect(failure).to.equal("EPERM");
    });
    await from.close();
  });

  it("is made once for many who ask at once, in two stores", async () => {
    const stores = [store(), store()];
    const all = await Promise.all(stores.flatMap((from) => [use(from), use(from), use(from)]));
    for (const one of all) expect(one).to.deep.equal(whole);
    expect(made).to.equal(1);
    for (const from of stores) await from.close();
  });

  it("keeps another snapshot for another shape", async () => {
    const from = store();
    await use(from, shape("a"));
    await use(from, shape("b"));
    expect(made).to.equal(2);
    await from.close();
  });

  for (const part of ["memory", "state", "scratch", "manifest.json"]) {
    it(`makes it anew when ${part} has changed, or is cut, or is gone`, async () => {
      const place = join(folder, "s", keyOf(shape("a")), part);
      const harms = [
        async () => {
          const bytes = await readFile(place);
          const at = bytes.length >> 1;
          bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
          await writeFile(place, bytes);
        },
        async () => writeFile(place, (await readFile(place)).subarray(0, -1)),
        async () => rm(place),
      ];
      for (const harm of harms) {
        const before = store();
        await use(before);
        await before.close();
        await harm();
        const now = made;
        const after = store();
        expect(await use(after)).to.deep.equal(whole);
        await after.close();
        expect(made).to.equal(now + 1);
      }
    });
  }

  it("uses no snapshot of another shape, and none that others could have written", async () => {
    const from = store();
    await use(from, shape("a"));
    await from.close();
    const [foreign, own] = ["b", "a"].map((name) => join(folder, "s", keyOf(shape(name))));
    await cp(own ?? "", foreign ?? "", { recursive: true });
    await chmod(foreign ?? "", 0o700);
    const next = store();
    await use(next, shape("b"));
    expect(made).to.equal(2);
    await chmod(own ?? "", 0o777);
    await use(next, shape("a"));
    expect(made).to.equal(3);
    await next.close();
  });

  it("keeps no more than it may, those that were used last", async () => {
    const from = store({ maxCount: 2, maxIdle: 0 });
    await use(from, shape("a"));
    await use(from, shape("b"));
    await use(from, shape("a"));
    await use(from, shape("c"));
    const names = (await readdir(join(folder, "s"))).filter((name) => !name.startsWith("."));
    expect(names.sort()).to.deep.equal([keyOf(shape("a")), keyOf(shape("c"))].sort());
    expect(made).to.equal(3);
  });

  it("leaves nothing of one that could not be made, and tries again", async () => {
    const from = store();
    const broken = () => Promise.reject(new DevmeshError("SANDBOX_FAILED", "no guest today"));
    const failure = await from.with(shape("a"), broken, undefined, contents).catch((e) => e);
    expect(failure).to.include({ reason: "SANDBOX_FAILED", message: "no guest today" });
    const names = await readdir(join(folder, "s"));
    expect(names.filter((name) => !name.startsWith(".lock"))).to.deep.equal([]);
    expect(await use(from)).to.deep.equal(whole);
    await from.close();
  });

  it("gives up for one caller and goes on for another; stops when nobody is left", async () => {
    const from = store();
    const gate = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<void>();
    const slow = async (files: TemplateFiles, signal: AbortSignal) => {
      signal.addEventListener("abort", () => stopped.resolve());
      await Promise.race([gate.promise, stopped.promise]);
      signal.throwIfAborted();
      return make(files);
    };
    const one = new AbortController();
    const given = from.with(shape("a"), slow, one.signal, contents).catch((error) => error);
    const kept = from.with(shape("a"), slow, undefined, contents);
    one.abort();
    expect(await given).to.include({ reason: "CANCELLED" });
    gate.resolve();
    expect(await kept).to.deep.equal(whole);
    const last = new AbortController();
    const never = async (files: TemplateFiles, signal: AbortSignal) => {
      await new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason)),
      );
      return make(files);
    };
    const alone = from.with(shape("b"), never, last.signal, contents).catch((error) => error);
    last.abort();
    expect(await alone).to.include({ reason: "CANCELLED" });
    await from.close();
  });

  it("answers a full disk with a typed error and leaves nothing", async function () {
    if (process.getuid?.() !== 0 || process.platform !== "linux") return this.skip();
    const small = join(folder, "s");
    await mkdir(small, { mode: 0o700 });
    await run("mount", ["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", small]);
    try {
      const from = store();
      const big = async (files: TemplateFiles) => {
        await files.memory.write(Buffer.alloc(mib, 1), 0, mib, 0);
        return make(files);
      };
      const failure = await from.with(shape("a"), big, undefined, contents).catch((e) => e);
      expect(failure).to.include({ reason: "SANDBOX_FAILED" });
      expect(failure.message).to.include("ENOSPC");
      expect((await readdir(small)).filter((name) => !name.startsWith(".lock"))).to.deep.equal([]);
      await from.close();
    } finally {
      await run("umount", [small]);
    }
  });
});
