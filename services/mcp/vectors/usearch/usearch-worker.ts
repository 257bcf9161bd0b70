/** The thread that owns the graphs; see `vector-store.usearch.ts` for the thread that asks. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { VectorSpace } from "../index-version.ts";
import { UsearchCollection } from "./collection.ts";
import type { UsearchAnswer, UsearchQuestion, UsearchTask, UsearchValue } from "./messages.ts";

const { folder } = workerData as { folder: string };
const collections = new Map<string, UsearchCollection>();

/** Additions between two looks at the mailbox: searches wait no longer than these take. */
const additionsPerTurn = 8;

function collectionOf(space: VectorSpace): UsearchCollection {
  const collection = collections.get(space.id) ?? new UsearchCollection(folder, space);
  collections.set(space.id, collection);
  return collection;
}

async function perform(task: UsearchTask): Promise<UsearchValue> {
  switch (task.do) {
    case "search":
      return collectionOf(task.space).search(task.vector, task.limit);
    case "ids":
      return collectionOf(task.space).ids();
    case "count":
      return collectionOf(task.space).size;
    case "upsert": {
      const collection = collectionOf(task.space);
      for (const [i, vector] of task.vectors.entries()) {
        if (i % additionsPerTurn === additionsPerTurn - 1) await nextTurn();
        collection.put(vector);
      }
      if (collection.isWorthSaving) collection.save();
      return undefined;
    }
    case "remove":
      for (const id of task.ids) collectionOf(task.space).remove(id);
      return undefined;
    case "drop":
      collectionOf(task.space).drop();
      collections.delete(task.space.id);
      return undefined;
    case "save":
      for (const collection of collections.values()) collection.save();
      return undefined;
    default:
      return task satisfies never;
  }
}

async function answer({ id, task }: UsearchQuestion): Promise<UsearchAnswer> {
  try {
    return { id, value: await perform(task) };
  } catch (error: unknown) {
    return { id, failure: error instanceof Error ? error.message : String(error) };
  }
}

/** Writes happen one after the other; searches slip in between their turns. */
let writes: Promise<unknown> = Promise.resolve();

parentPort?.on("message", (question: UsearchQuestion) => {
  const answered =
    question.task.do === "search" ? answer(question) : writes.then(() => answer(question));
  if (question.task.do !== "search") writes = answered;
  answered.then((result) => parentPort?.postMessage(result));
});
