export { type Clock, SystemClock, TestClock } from "./clock.ts";
export { type HeldFolder, holdFolder } from "./folder-lock.ts";
export { CountedIds, type Ids, SortableIds } from "./ids.ts";
export { type Random, SeededRandom, SystemRandom, TestRandom } from "./random.ts";
export { mapStream, type StreamTap, tapStream } from "./streams.ts";
export { untilAborted } from "./until-aborted.ts";
