/** Owns a job's live log: it feeds the socket's events into lines, notes and states. */
import { DevmeshApiError } from "@devmesh/sdk";
import { createSignal, onCleanup } from "solid-js";
import { realClock } from "../../ui/clock.ts";
import { LineStore } from "../../ui/log/line-store.ts";
import { type Backend, onWake } from "../backend/backend.ts";
import { type FeedState, JobFeed, type Socket } from "./job-feed.ts";
import type { JobFrame, LogPiece } from "./job-frame.ts";

/** Something that happened to the job besides its output. */
export interface JobHappening {
  readonly seq: number;
  readonly timeMs: number;
  readonly topic: string;
  readonly level: string;
  readonly message: string;
}

/** A job's log as it comes. */
export interface LiveLog {
  readonly store: LineStore;
  /** Rises when lines or happenings changed, at most once a frame. */
  readonly version: () => number;
  readonly state: () => FeedState;
  /** Why the stream was refused. Empty if it was not. */
  readonly refusal: () => string;
  readonly happenings: () => readonly JobHappening[];
}

/** Watches a job until the screen is left. `onTurn` is called when its status may have changed. */
export function createLiveLog(backend: Backend, id: string, onTurn: () => void): LiveLog {
  const store = new LineStore();
  const decoders = { stdout: createDecoder(), stderr: createDecoder() };
  const happenings: JobHappening[] = [];
  const [version, setVersion] = createSignal(0);
  const [state, setState] = createSignal<FeedState>("connecting");
  const [refusal, setRefusal] = createSignal("");

  let frame: number | undefined;
  const touch = () => {
    frame ??= requestAnimationFrame(() => {
      frame = undefined;
      setVersion((now) => now + 1);
    });
  };

  const take = (event: Exclude<JobFrame, { type: "heartbeat" }>) => {
    switch (event.type) {
      case "log":
        store.append(event.log.stream, decoders[event.log.stream](event.log.data), event.timeMs);
        break;
      case "status": {
        const { status, attempt, detail, runner } = event.change;
        const message = [detail, runner && `on ${runner}`].filter((part) => part !== "").join(" ");
        happenings.push({ ...event, topic: status, level: "info", message });
        if (status === "running" && attempt > 1) store.mark(`attempt ${attempt}`, event.timeMs);
        onTurn();
        break;
      }
      case "note":
        happenings.push({ ...event, ...event.note });
        break;
      case "trim":
        store.mark(`earlier output is gone: ${event.detail || "retention"}`, event.timeMs);
        break;
      case "result":
        for (const stream of ["stdout", "stderr"] as const) {
          store.append(stream, decoders[stream](undefined), event.timeMs);
        }
        store.end();
        onTurn();
        break;
      case "error":
        setRefusal(event.message || event.reason);
        break;
      case "unknown":
        break;
      default:
        event satisfies never;
    }
    touch();
  };

  const feed = new JobFeed({
    open: (from) => adapt(backend.openStream(id, from)),
    whyNot: () =>
      backend
        .call((client) => client.jobs.get(id))
        .then(
          () => undefined,
          // Whatever else is wrong, another try will tell.
          (error: unknown) => (error instanceof DevmeshApiError ? error : undefined),
        ),
    clock: realClock,
    random: Math.random,
    isOnline: () => navigator.onLine,
    onFrame: take,
    onState: (next) => {
      setState(next);
      if (next === "reconnecting") backend.suspect();
      // The status may have changed while nobody listened.
      if (next === "live") onTurn();
    },
  });
  feed.start();
  const stopWaking = onWake(() => feed.wake());
  onCleanup(() => {
    stopWaking();
    feed.stop();
    if (frame !== undefined) cancelAnimationFrame(frame);
  });

  return {
    store,
    version,
    state,
    refusal,
    happenings: () => {
      version();
      return [...happenings];
    },
  };
}

/** The part of a browser's WebSocket that a feed uses. */
function adapt(real: WebSocket): Socket {
  const socket: Socket = {
    onopen: null,
    onmessage: null,
    onclose: null,
    close: (code, reason) => real.close(code, reason),
  };
  real.onopen = () => socket.onopen?.();
  real.onmessage = ({ data }) => socket.onmessage?.({ data });
  real.onclose = ({ code, reason }) => socket.onclose?.({ code, reason });
  return socket;
}

/** Turns pieces of one output into text; a character may be cut over pieces of bytes. */
function createDecoder(): (data: LogPiece["data"] | undefined) => string {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return (data) => {
    if (data instanceof Uint8Array) return decoder.decode(data, { stream: true });
    // Whole text behind a cut character: what is left of it is a replacement character.
    return decoder.decode() + (data ?? "");
  };
}
