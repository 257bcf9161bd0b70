/**
 * A process of its own that watches one job over many WebSockets: `fork` it
 * with the platform's URL and token, send it `{jobId, watchers}`, and it answers
 * `ready`, then the delays of all lines at all watchers when the job has ended.
 */
import { WebSocket } from "ws";

const [url = "", token = ""] = process.argv.slice(2);

/** What a watch is asked for. */
export interface WatchOrder {
  readonly jobId: string;
  readonly watchers: number;
}

/** What all watchers saw. */
export interface WatchReport {
  /** From the writing of a line to its arrival, in milliseconds, sorted. */
  readonly delaysMs: number[];
  /** Watchers that saw every line once and in order, and the result. */
  readonly whole: number;
}

process.on("message", (order: WatchOrder) => void watchAll(order));
process.on("disconnect", () => process.exit(0));

async function watchAll({ jobId, watchers }: WatchOrder): Promise<void> {
  const delaysMs: number[] = [];
  const opened: Promise<void>[] = [];
  const ended: Promise<boolean>[] = [];
  for (let i = 0; i < watchers; i++) {
    const socket = new WebSocket(`${url.replace("http", "ws")}/v1/stream/${jobId}`, "devmesh.v1", {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
    });
    opened.push(new Promise((resolve) => socket.once("open", resolve)));
    ended.push(watchOne(socket, delaysMs));
    // As browsers arrive: not all at once.
    if (i % 50 === 49) await opened.at(-1);
  }
  await Promise.all(opened);
  process.send?.("ready");
  const whole = (await Promise.all(ended)).filter(Boolean).length;
  process.send?.({ delaysMs: delaysMs.sort((a, b) => a - b), whole } satisfies WatchReport);
}

function watchOne(socket: WebSocket, delaysMs: number[]): Promise<boolean> {
  let rest = "";
  let next = 0;
  let inOrder = true;
  return new Promise((resolve) => {
    socket.on("close", () => resolve(false));
    socket.on("error", () => resolve(false));
    socket.on("message", (data) => {
      const now = Date.now();
      const { type, payload } = JSON.parse(String(data)) as {
        type: string;
        payload: { text?: string; outcome?: string };
      };
      if (type === "result") resolve(inOrder && payload.outcome === "JOB_STATUS_SUCCEEDED");
      if (type !== "log") return;
      const lines = (rest + (payload.text ?? "")).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const [number, ns] = line.split(" ");
        if (Number(number) !== next++) inOrder = false;
        delaysMs.push(now - Number(ns) / 1e6);
      }
    });
  });
}
