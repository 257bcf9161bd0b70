/** Files of an agent that are kept while it works, and the workspace that is made of them again. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import { BlobService, PutBlobResponseSchema } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { SystemClock } from "@devmesh/mesh/runtime";
import { expect } from "chai";
import { AgentCheckpoints } from "../../services/vm/runner/agent/checkpoints.ts";
import type { Note } from "../../services/vm/runner/job-notes.ts";
import {
  changedFiles,
  fetchChanges,
  mergeArchives,
} from "../../services/vm/runner/workspace/restore-workspace.ts";
import { archiveEntries } from "../../services/vm/runner/workspace/workspace-changes.ts";
import { type TempFolder, tempFolder } from "../sdk/temp-folder.ts";
import { file as plain, tarOf } from "./archives.ts";

describe("an agent's checkpoints", () => {
  let folder: TempFolder;
  let notes: Note[];
  let stored: Map<string, Buffer>;
  const signal = new AbortController().signal;

  const blobs = createClient(
    BlobService,
    createRouterTransport(({ service }) => {
      service(BlobService, {
        statBlob: ({ sha256 }) => ({ exists: stored.has(sha256) }),
        async putBlob(pieces) {
          const parts: Uint8Array[] = [];
          let sha256 = "";
          for await (const piece of pieces) {
            sha256 ||= piece.sha256;
            parts.push(piece.data);
          }
          stored.set(sha256, Buffer.concat(parts));
          return create(PutBlobResponseSchema, { sha256 });
        },
        async *getBlob({ sha256 }) {
          yield { data: stored.get(sha256) ?? new Uint8Array() };
        },
      });
    }),
  );

  const access = () => ({ blobs, clock: new SystemClock(), signal });
  const made = (name: string) => {
    const note = async (told: Note) => {
      notes.push(told);
    };
    return new AgentCheckpoints({ ...access(), folder: join(folder.path, name), note });
  };
  const file = (path: string, data: string, more = false) => ({
    ...{ path, mode: 0o644, target: "", data: Buffer.from(data), more },
  });

  beforeEach(() => {
    folder = tempFolder();
    notes = [];
    stored = new Map();
  });
  afterEach(() => folder[Symbol.dispose]());

  /** The last note of a checkpoint, as a later attempt reads it. */
  function kept() {
    const { payload } = notes.findLast(({ topic }) => topic === "agent.checkpoint") ?? {};
    if (payload === undefined) throw new Error("nothing is kept");
    const { step, call, sha256, deletedSha256 } = payload;
    return {
      step: Number(step),
      call: String(call),
      sha256: String(sha256),
      deletedSha256: String(deletedSha256),
    };
  }

  async function restored(before: Record<string, string>): Promise<Record<string, string>> {
    const base = join(folder.path, "before.tar");
    const tree = new Map(Object.entries(before).map(([path, text]) => [path, plain(text)]));
    await writeFile(base, tarOf(tree));
    const changes = await fetchChanges(kept(), folder.path, access());
    const path = join(folder.path, "merged.tar");
    await mergeArchives({ path: base, maxBytes: 1 << 20 }, changes, path, signal);
    const files: Record<string, string> = {};
    for await (const { entry, content } of archiveEntries({ path, maxBytes: 1 << 20 }, signal)) {
      const parts: Buffer[] = [];
      for await (const part of content) parts.push(Buffer.from(part));
      files[entry.path] = entry.target || Buffer.concat(parts).toString();
    }
    return files;
  }

  it("are the workspace again, with what came, changed and went", async () => {
    const checkpoints = made("one");
    const link = { ...file("to-a", ""), target: "a" };
    await checkpoints.take({
      ...{ step: 1, call: "c1", last: true, deleted: ["gone", "folder/x"] },
      files: [file("a", "changed"), file("folder", "a file now"), link],
    });
    await checkpoints.take({
      ...{ step: 2, call: "c2", last: false, deleted: [] },
      files: [file("big", "first ")],
    });
    await checkpoints.take({
      ...{ step: 2, call: "c2", last: true, deleted: [] },
      files: [file("big", "second", true)],
    });
    await checkpoints.settled();
    expect(kept()).to.include({ step: 2, call: "c2" });
    const before = { a: "old", gone: "x", "folder/x": "x", "folder/y": "y", same: "same" };
    expect(await restored(before)).to.deep.equal({
      ...{ a: "changed", "to-a": "a", big: "first second", folder: "a file now", same: "same" },
    });
  });

  it("of a half-told call are not kept", async () => {
    const checkpoints = made("half");
    await checkpoints.take({
      step: 1,
      call: "c1",
      files: [file("a", "1")],
      deleted: [],
      last: true,
    });
    await checkpoints.settled();
    await checkpoints.take({
      step: 2,
      call: "c2",
      files: [file("a", "2")],
      deleted: [],
      last: false,
    });
    await checkpoints.settled();
    expect(kept()).to.include({ step: 1, call: "c1" });
    expect(await restored({})).to.deep.equal({ a: "1" });
  });

  it("of an attempt that goes on have those of the attempt before", async () => {
    const first = made("first");
    await first.take({ step: 1, call: "c1", files: [file("a", "1")], deleted: ["b"], last: true });
    await first.settled();
    const changes = await fetchChanges(kept(), folder.path, access());
    const second = made("second");
    await second.restore(changedFiles(changes.changed, signal), changes.deleted);
    await second.take({ step: 2, call: "c2", files: [file("c", "3")], deleted: [], last: true });
    await second.settled();
    expect(await restored({ b: "b", d: "d" })).to.deep.equal({ a: "1", c: "3", d: "d" });
  });

  it("end with a word where a blob cannot be stored", async () => {
    const path = join(folder.path, "blocked");
    await mkdir(path);
    await writeFile(join(path, "checkpoint"), "a file is in the folder's place");
    const note = async (told: Note) => {
      notes.push(told);
    };
    const checkpoints = new AgentCheckpoints({ ...access(), folder: path, note });
    await checkpoints.end("too large");
    await checkpoints.take({
      step: 1,
      call: "c",
      files: [file("a", "1")],
      deleted: [],
      last: true,
    });
    expect(notes.map(({ level, message }) => [level, message])).to.deep.equal([
      ["warn", "changed files are not kept any more: too large"],
    ]);
    expect(await readFile(join(path, "checkpoint"), "utf8")).to.include("place");
  });
});
